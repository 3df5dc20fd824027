//! Held notifications, when their subscription is active again.

use std::sync::Arc;
use std::time::Duration;

use messaging::consumer::HandleEvents;
use notifier::domain::notification::StateName;
use notifier::domain::subscription::{Draft, Patch};
use notifier::domain::{
    NotificationId, SubscriptionAction, SubscriptionAudit, SubscriptionId, SubscriptionState,
};
use notifier::store::Store;
use runtime::Clock;
use runtime::testing::ManualClock;

use super::{Process, quiet, subscribe};
use crate::support::receiver::{Receiver, answer};
use crate::support::rig::{climbing, id};

const HELD: usize = 4;

async fn set_state(
    store: &dyn Store,
    subscription: SubscriptionId,
    state: SubscriptionState,
    clock: &ManualClock,
) {
    let patch = Patch { state: Some(state), ..Patch::default() };
    let audit_id = clock.now().timestamp_micros().unsigned_abs();
    let audit_id = uuid::Uuid::from_u128(u128::from(audit_id) + id(0).0.as_u128() + 1);
    let audit = SubscriptionAudit::new(audit_id, SubscriptionAction::of(&patch), "operator", clock.now());
    let patched = store.patch(subscription, None, &patch, &audit).await.expect("a store");
    patched.expect("there").expect("valid");
}

/// Five a second: each leaves 200 ms after the one before, in the order in which they came in.
pub async fn what_was_held_goes_out_oldest_first_at_the_pace_of_its_subscription(store: Arc<dyn Store>) {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let clock = ManualClock::default();
    let draft = Draft { rate_limit: Some(5), ..climbing(&receiver.url(), &["1m"]) };
    let subscription = subscribe(store.as_ref(), draft, &clock).await;
    set_state(store.as_ref(), subscription, SubscriptionState::Paused, &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    let mut events = Vec::new();
    for _ in 0..HELD {
        let event = process.events(1);
        process.ingest.handle(event.clone()).await.expect("taken in");
        events.extend(event);
        clock.advance(Duration::from_secs(1));
    }
    for event in &events {
        let notification = NotificationId::of(event.key(), subscription);
        let shown =
            store.notification(notification, None, clock.now()).await.expect("a store").expect("known");
        assert_eq!(shown.notification.state.name(), StateName::Held);
    }
    assert!(receiver.requests().is_empty());

    set_state(store.as_ref(), subscription, SubscriptionState::Active, &clock).await;
    process.schedule.look_now();
    for sent in 1..=HELD {
        assert_eq!(receiver.wait_for(sent).await.len(), sent, "no faster than its rate");
        clock.advance(Duration::from_millis(200));
    }
    quiet(store.as_ref(), subscription).await;
    process.stop().await;
    let sent = receiver.requests();
    let sent: Vec<_> = sent.iter().map(|request| request.header("webhook-id").expect("an id")).collect();
    assert_eq!(sent, events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>());
}
