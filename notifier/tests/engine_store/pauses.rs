//! A receiver that answers 429 or 503 is left alone by every process.

use std::sync::Arc;
use std::time::Duration;

use messaging::consumer::HandleEvents;
use notifier::domain::health::HealthState;
use notifier::domain::subscription::Draft;
use notifier::domain::{Health, SubscriptionId};
use notifier::store::{NotificationFilter, Store};
use runtime::Clock;
use runtime::http::Page;
use runtime::testing::ManualClock;

use super::{Process, quiet, subscribe_as};
use crate::support::receiver::{Receiver, answer};
use crate::support::rig::climbing;

const EVENTS: usize = 50;
/// As many as a new lane may have under way, in each of two processes.
const UNDER_WAY: usize = 2 * 8;

async fn until_paused(store: &dyn Store, subscription: SubscriptionId) {
    let paused = async {
        loop {
            let health = store.health(&[subscription]).await.expect("a store");
            if Health::state(health.get(&subscription)) == HealthState::PausedByReceiver {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), paused).await.expect("it is paused");
}

/// The attempts that have a result, all of `subscription`'s notifications together.
async fn recorded(store: &dyn Store, subscription: SubscriptionId, clock: &ManualClock) -> usize {
    let filter = NotificationFilter { subscription: Some(subscription), ..NotificationFilter::default() };
    let page = Page { limit: 200, after: None };
    let all = store.notifications(&filter, page, clock.now()).await.expect("a store");
    all.iter().map(|one| one.attempts as usize).sum()
}

/// Waits until every request that `receiver` has had is recorded; how many those are.
async fn settled(
    store: &dyn Store,
    subscription: SubscriptionId,
    receiver: &Receiver,
    clock: &ManualClock,
) -> usize {
    let settled = async {
        loop {
            let requests = receiver.requests().len();
            if recorded(store, subscription, clock).await == requests {
                return requests;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("it settles")
}

/// One receiver asks for a minute of quiet, another takes all it is sent, and one of the two processes is
/// replaced meanwhile.
pub async fn a_receiver_that_asks_for_a_pause_is_left_alone_by_every_process(stores: [Arc<dyn Store>; 2]) {
    let busy = Receiver::start(vec![answer(429, "retry-after: 60\r\n", "")]).await;
    let other = Receiver::start(vec![answer(200, "", "")]).await;
    let (clock, store) = (ManualClock::default(), stores[0].clone());
    let draft = |name: &str, url: String| Draft { name: name.into(), ..climbing(&url, &["1s"; 3]) };
    let paused = subscribe_as(0, store.as_ref(), draft("busy", busy.url()), &clock).await;
    subscribe_as(1, store.as_ref(), draft("other", other.url()), &clock).await;
    let [mut one, mut two] = [0, 1].map(|n: usize| Process::start(stores[n].clone(), &clock, n as u64 + 1));
    let (first, second) = (one.events(EVENTS), two.events(EVENTS));
    let (first, second) = tokio::join!(one.ingest.handle(first), two.ingest.handle(second));
    first.and(second).expect("taken in");
    until_paused(store.as_ref(), paused).await;
    let begun = settled(store.as_ref(), paused, &busy, &clock).await;
    assert!(begun <= UNDER_WAY, "{begun} requests to a receiver whose first answer asked for quiet");

    one.stop().await;
    let mut one = Process::start(stores[0].clone(), &clock, 3);
    busy.now(vec![answer(200, "", "")]);
    clock.advance(Duration::from_secs(59));
    for process in [&mut one, &mut two] {
        let events = process.events(1);
        process.ingest.handle(events).await.expect("taken in");
        process.schedule.look_now();
    }
    other.wait_for(2 * EVENTS + 2).await;
    assert_eq!(busy.requests().len(), begun, "the other has all of its own, and this one is left alone");

    clock.advance(Duration::from_secs(4));
    busy.wait_for(begun + 1).await;
    assert_eq!(settled(store.as_ref(), paused, &busy, &clock).await, begun + 1, "one at first");
    clock.advance(Duration::from_secs(1));
    busy.wait_for(begun + 2 * EVENTS + 2).await;
    quiet(store.as_ref(), paused).await;
    assert_eq!(busy.requests().len(), begun + 2 * EVENTS + 2, "each but those answered 429 took no step");
    assert!(store.health(&[paused]).await.expect("a store").is_empty());
    one.stop().await;
    two.stop().await;
}

/// What is under lease ahead of its turn goes back when the receiver asks for a pause: not one attempt
/// begins after the answer is in.
pub async fn what_waits_in_memory_goes_back_unattempted_when_a_receiver_asks_for_a_pause(
    store: Arc<dyn Store>,
) {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let clock = ManualClock::default();
    let draft = Draft { max_in_flight: 1, ..climbing(&receiver.url(), &["1s"; 3]) };
    let subscription = subscribe_as(0, store.as_ref(), draft, &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    for sent in 1..=3 {
        let events = process.events(1);
        process.ingest.handle(events).await.expect("taken in");
        receiver.wait_for(sent).await;
        settled(store.as_ref(), subscription, &receiver, &clock).await;
    }
    receiver.now(vec![answer(200, "", ""), answer(503, "", ""), answer(200, "", "")]);
    let events = process.events(EVENTS);
    process.ingest.handle(events).await.expect("taken in");
    until_paused(store.as_ref(), subscription).await;
    settled(store.as_ref(), subscription, &receiver, &clock).await;
    assert_eq!(receiver.requests().len(), 3 + 2, "one was acknowledged, one answered 503, the rest waits");
    clock.advance(Duration::from_secs(2));
    receiver.wait_for(3 + 2 + 1).await;
    settled(store.as_ref(), subscription, &receiver, &clock).await;
    clock.advance(Duration::from_secs(1));
    receiver.wait_for(3 + EVENTS + 1).await;
    quiet(store.as_ref(), subscription).await;
    assert_eq!(receiver.requests().len(), 3 + EVENTS + 1);
    process.stop().await;
}
