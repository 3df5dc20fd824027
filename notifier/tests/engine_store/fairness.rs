//! First attempts and retries share a subscription's capacity, from the intake to the receiver.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use messaging::consumer::HandleEvents;
use notifier::domain::States;
use notifier::domain::notification::StateName;
use notifier::domain::subscription::Draft;
use notifier::store::{NotificationFilter, Store};
use runtime::Clock;
use runtime::http::Page;
use runtime::testing::ManualClock;
use tokio::sync::Semaphore;

use super::{Process, quiet, subscribe};
use crate::support::receiver::{Act, Receiver, answer};
use crate::support::rig::climbing;

const RETRIES: usize = 20;
const FRESH: usize = 12;
const AT_ONCE: usize = 2;

/// Waits until so many notifications wait for their retries.
async fn until_waiting(store: &dyn Store, clock: &ManualClock, count: usize) {
    let filter =
        NotificationFilter { states: States::of(&[StateName::Pending]), ..NotificationFilter::default() };
    let page = Page { limit: 200, after: None };
    let waiting = async {
        while store.notifications(&filter, page, clock.now()).await.expect("a store").len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("they wait");
}

/// Twenty retries are due at a receiver that takes its time when twelve fresh results come in: of
/// whatever number of deliveries that follow, half are of the one kind and half of the other.
pub async fn fresh_results_pass_a_backlog_of_retries_by_turns(store: Arc<dyn Store>) {
    let hold = Arc::new(Semaphore::new(0));
    let mut acts = vec![answer(500, "", ""); RETRIES];
    acts.push(Act::Hold(hold.clone()));
    let receiver = Receiver::start(acts).await;
    let clock = ManualClock::default();
    let draft = Draft { max_in_flight: 2, ..climbing(&receiver.url(), &["1s"; 5]) };
    let subscription = subscribe(store.as_ref(), draft, &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    let old = process.events(RETRIES);
    process.ingest.handle(old).await.expect("taken in");
    receiver.wait_for(RETRIES).await;
    until_waiting(store.as_ref(), &clock, RETRIES).await;

    clock.advance(Duration::from_secs(8)); // Past the ladder's step, within every lease.
    let before = RETRIES + AT_ONCE;
    receiver.wait_for(before).await;
    let fresh = process.events(FRESH);
    process.ingest.handle(fresh.clone()).await.expect("taken in");
    for sent in before..RETRIES + RETRIES + FRESH {
        hold.add_permits(1);
        receiver.wait_for(sent + 1).await;
    }
    hold.add_permits(AT_ONCE);
    quiet(store.as_ref(), subscription).await;
    process.stop().await;

    let fresh: HashSet<String> = fresh.into_iter().map(|event| event.id).collect();
    let requests = receiver.requests();
    let order =
        requests[before..].iter().map(|request| fresh.contains(request.header("webhook-id").expect("an id")));
    let order: Vec<bool> = order.collect();
    for count in 1..=order.len() {
        let first = order[..count].iter().filter(|fresh| **fresh).count();
        let half = (count - 1) / 2;
        assert!(first >= half.min(FRESH), "{first} first attempts in {count}: {order:?}");
        let retries = count - first;
        assert!(retries >= half.min(RETRIES - AT_ONCE), "{retries} retries in {count}: {order:?}");
    }
}
