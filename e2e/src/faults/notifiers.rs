//! Notifiers that share one database and one queue are killed in the middle of a burst.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::dice::Dice;
use crate::harness::{Footing, Publisher, Service, Stack, Subscriber, eventually};

/// Events published around each kill.
const BURST: u64 = 120;
/// Long enough that the receiver, which answers at once, never misses it on a busy machine.
const TIMEOUT: &str = "4s";
/// A lease is the request's timeout and this long (`docs/notifier.md`).
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// The leases of the last one killed have to run out.
const QUIET: Duration = Duration::from_mins(1);

/// Two notifiers, then four; each is killed once while its attempts are under way.
pub async fn notifiers_that_share_a_queue_are_killed() {
    let mut stack = Stack::start(Footing::postgres().await).await;
    let counter = stack.subscribe("counter", &["order.paid"], json!({ "timeout": TIMEOUT })).await;
    let mut burst = Burst { publisher: Publisher::connect(&stack.footing).await, dice: Dice::new(), sent: 0 };
    let mut notifiers = vec![Service::Notifier, Service::SecondNotifier];
    for count in [2, 4] {
        while notifiers.len() < count {
            notifiers.push(stack.add_notifier().await);
        }
        for victim in &notifiers {
            burst.kill_during(&mut stack, &counter, *victim).await;
        }
    }
    let sent = usize::try_from(burst.sent).expect("a few hundred");
    until_delivered(&stack, &counter, sent).await;
    assert_no_lease_was_ignored(&stack, &counter, sent);
}

struct Burst {
    publisher: Publisher,
    dice: Dice,
    sent: u64,
}

impl Burst {
    /// Kills `victim` at a random moment of a burst, and starts it again while more comes.
    async fn kill_during(&mut self, stack: &mut Stack, counter: &Subscriber, victim: Service) {
        let before = stack.receiver.received(&counter.path).len();
        self.publish(BURST).await;
        let moment = before + usize::try_from(self.dice.below(BURST)).expect("a few");
        stack.receiver.wait_for(&counter.path, moment).await;
        stack.kill(victim);
        self.publish(BURST / 4).await;
        stack.restart(victim).await;
    }

    async fn publish(&mut self, count: u64) {
        let order = |number| {
            format!(
                r#"{{"specversion":"1.0","id":"order-{number}","source":"/shop","type":"order.paid",
                    "time":"2026-01-02T03:04:05Z","subject":"order-{number}","data":{{}}}}"#
            )
        };
        let events: Vec<String> = (self.sent..self.sent + count).map(order).collect();
        self.publisher.publish(&events).await;
        self.sent += count;
    }
}

/// Every event is delivered, in its first attempt: what was sent again was the same attempt.
async fn until_delivered(stack: &Stack, counter: &Subscriber, count: usize) {
    let all = format!("/v1/notifications?subscription_id={}", counter.id);
    eventually("everything is delivered", QUIET, async || {
        let notifications = stack.notifier.list(&all).await;
        let delivered =
            notifications.iter().filter(|one| one["state"] == "delivered" && one["attempt_count"] == 1);
        (delivered.count() == count).then_some(())
    })
    .await;
}

/// The receiver always answers at once, so only a lease that ran out lets an attempt be sent again.
/// A request goes out within the timeout at the latest, which leaves the lease's margin between two.
fn assert_no_lease_was_ignored(stack: &Stack, counter: &Subscriber, count: usize) {
    let mut last: BTreeMap<String, Instant> = BTreeMap::new();
    for webhook in stack.receiver.received(&counter.path) {
        let id = webhook.header("webhook-id").to_owned();
        if let Some(before) = last.insert(id.clone(), webhook.at) {
            let pause = webhook.at - before;
            assert!(pause >= LEASE_MARGIN, "{id} was sent again after {pause:?}, under its lease");
        }
    }
    assert_eq!(last.len(), count, "every event arrived");
}
