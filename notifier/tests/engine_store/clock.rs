//! A clock that steps while attempts are made.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use messaging::consumer::HandleEvents;
use notifier::domain::NotificationId;
use notifier::domain::notification::StateName;
use notifier::store::Store;
use runtime::Clock;
use runtime::testing::ManualClock;
use uuid::Uuid;

use super::{Process, quiet, subscribe};
use crate::support::receiver::{Receiver, answer};
use crate::support::rig::climbing;

/// Set back by an hour: what is fresh goes out at once, and a retry after its step.
pub async fn a_clock_that_is_set_back_stops_nothing(store: Arc<dyn Store>) {
    let receiver = Receiver::start(vec![answer(500, "", ""), answer(200, "", "")]).await;
    let clock = ManualClock::default();
    let subscription = subscribe(store.as_ref(), climbing(&receiver.url(), &["2s"]), &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    let first = process.events(1);
    process.ingest.handle(first).await.expect("taken in");
    receiver.wait_for(1).await;
    while store.health(&[subscription]).await.expect("a store").is_empty() {
        tokio::task::yield_now().await; // until the failure is recorded
    }
    clock.step(TimeDelta::hours(-1));
    let fresh = process.events(1);
    process.ingest.handle(fresh).await.expect("taken in");
    receiver.wait_for(2).await;
    store.clamp_times(Uuid::nil(), clock.now(), 100).await.expect("a store");
    clock.advance(Duration::from_secs(3)); // its step, and what its attempt took
    process.schedule.look_now();
    receiver.wait_for(3).await;
    quiet(store.as_ref(), subscription).await;
    process.stop().await;
}

/// The last step may have come early, so its attempt is made again.
pub async fn while_the_clock_is_in_doubt_nothing_is_given_up(store: Arc<dyn Store>) {
    let receiver = Receiver::start(vec![answer(500, "", "")]).await;
    let clock = ManualClock::default();
    clock.expect_since(clock.now() - TimeDelta::days(100), TimeDelta::hours(1));
    let subscription = subscribe(store.as_ref(), climbing(&receiver.url(), &["1s"]), &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    let events = process.events(1);
    let id = NotificationId::of(events[0].key(), subscription);
    process.ingest.handle(events).await.expect("taken in");
    let recorded = async |attempts: u32| loop {
        let shown = store.notification(id, None, clock.now()).await.expect("a store").expect("known");
        if shown.notification.attempts == attempts && shown.notification.state.name() != StateName::Delivering
        {
            return shown.notification.state.name();
        }
        tokio::task::yield_now().await;
    };
    for attempts in 1..=3 {
        assert_eq!(recorded(attempts).await, StateName::Pending);
        clock.advance(Duration::from_secs(2)); // its step, and what its attempt took
    }
    recorded(4).await;
    clock.advance(Duration::from_hours(1));
    assert_eq!(recorded(5).await, StateName::Exhausted);
    process.stop().await;
}
