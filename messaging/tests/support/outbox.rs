//! The suite every outbox passes, laws 1 and 2 of the relay among it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use messaging::broker::BrokerError;
use messaging::outbox::{Claimed, Handover, OutboxGauge, OutboxStore, Relay, RowLease};
use messaging::{Broker, Event};
use prometheus::Registry;
use runtime::background::{Progress, Worker};
use runtime::testing::{ManualClock, manual_sources};
use runtime::{Clock, Sources};
use uuid::Uuid;

use super::fake::{FakeBroker, down};
use super::slow::SlowToForget;
use super::{events, published};

const LEASE: Duration = Duration::from_secs(30);
const NOT_QUITE_THE_LEASE: Duration = Duration::from_millis(29_999);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Writes events in a transaction of its own.
#[async_trait]
pub trait Write: Send + Sync {
    async fn insert(
        &self,
        events: &[Event],
        lease: Option<RowLease>,
        now: chrono::DateTime<chrono::Utc>,
        commit: bool,
    );
}

/// An outbox of a test's own.
pub struct Bench {
    pub store: Arc<dyn OutboxStore>,
    pub write: Box<dyn Write>,
    pub sources: Sources,
    pub clock: ManualClock,
    /// What must live as long as the database.
    pub keep: Box<dyn std::any::Any + Send + Sync>,
}

impl Bench {
    pub fn new(
        store: Arc<dyn OutboxStore>,
        write: Box<dyn Write>,
        keep: Box<dyn std::any::Any + Send + Sync>,
    ) -> Self {
        let (sources, clock) = manual_sources(7);
        Self { store, write, sources, clock, keep }
    }

    async fn written(&self, count: usize) -> Vec<Event> {
        let events = events(&self.sources, "recharge.succeeded", count);
        self.write.insert(&events, None, self.clock.now(), true).await;
        events
    }

    /// Writes events under a lease and hands them over, if there is room; how many were.
    async fn handed_over(&self, handover: &Handover, count: usize) -> usize {
        let events = events(&self.sources, "recharge.succeeded", count);
        let Some(reserved) = handover.reserve(count, self.clock.now()) else { return 0 };
        self.write.insert(&events, Some(reserved.lease), self.clock.now(), true).await;
        reserved.hand_over(events);
        count
    }

    async fn claim(&self, limit: u32) -> (Uuid, Vec<Claimed>) {
        let token = self.sources.ids.next();
        (
            token,
            self.store
                .claim(token, self.clock.now(), self.clock.lease_time(), LEASE, limit)
                .await
                .expect("claims"),
        )
    }

    /// Writes `count` rows and claims one of them: the lease and the row.
    async fn claim_written(&self, count: usize) -> (Uuid, Uuid) {
        self.written(count).await;
        let (token, rows) = self.claim(1).await;
        (token, rows[0].id)
    }

    async fn waiting(&self) -> u64 {
        self.store.backlog().await.expect("answers").0
    }

    fn relay(&self, broker: &Arc<FakeBroker>) -> Relay {
        let broker: Arc<dyn Broker> = broker.clone();
        Relay::new(self.store.clone(), broker, self.sources.clone())
    }
}

fn ids(claimed: &[Claimed]) -> Vec<Uuid> {
    claimed.iter().map(|row| row.id).collect()
}

pub async fn what_is_rolled_back_was_never_in_the_outbox(bench: &Bench) {
    let events = events(&bench.sources, "recharge.succeeded", 2);
    bench.write.insert(&events, None, bench.clock.now(), false).await;
    assert!(bench.claim(10).await.1.is_empty());
    bench.write.insert(&[], None, bench.clock.now(), true).await;
    assert_eq!(bench.waiting().await, 0);
}

pub async fn an_event_that_waits_already_waits_once(bench: &Bench) {
    let events = bench.written(2).await;
    bench.write.insert(&events, None, bench.clock.now(), true).await;
    assert_eq!(bench.waiting().await, 2);
}

pub async fn events_come_out_oldest_first_and_byte_for_byte(bench: &Bench) {
    let mut sent = bench.written(3).await;
    bench.clock.advance(Duration::from_secs(1));
    sent.extend(bench.written(2).await);
    let (_, claimed) = bench.claim(4).await;
    let out: Vec<Event> = claimed.into_iter().map(|row| row.event).collect();
    assert_eq!(published(&out), published(&sent[..4]));
}

pub async fn the_backlog_is_counted_from_its_oldest_row(bench: &Bench) {
    assert_eq!(bench.store.backlog().await.expect("answers"), (0, None));
    let first = bench.clock.now();
    bench.written(2).await;
    bench.clock.advance(Duration::from_secs(5));
    bench.written(1).await;
    assert_eq!(bench.store.backlog().await.expect("answers"), (3, Some(first)));
    let (registry, clock) = (Registry::new(), bench.sources.clock.clone());
    let mut gauge = OutboxGauge::register(&registry, bench.store.clone(), clock).expect("new names");
    gauge.run_once().await.expect("measured");
    let shown: Vec<f64> =
        registry.gather().iter().map(|family| family.get_metric()[0].get_gauge().get_value()).collect();
    assert_eq!(shown, [5.0, 3.0], "the oldest's age in seconds, and the rows");
}

pub async fn two_relays_never_claim_the_same_row(bench: &Bench) {
    bench.written(40).await;
    let (one, two) = tokio::join!(bench.claim(30), bench.claim(30));
    let mut all = [ids(&one.1), ids(&two.1)].concat();
    all.extend(ids(&bench.claim(30).await.1));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 40);
    assert!(bench.claim(30).await.1.is_empty());
}

pub async fn an_expired_lease_hands_its_rows_to_another_relay(bench: &Bench) {
    bench.written(2).await;
    let (_, first) = bench.claim(10).await;
    bench.clock.advance(NOT_QUITE_THE_LEASE);
    assert!(bench.claim(10).await.1.is_empty(), "the lease still lives");
    bench.clock.advance(MILLISECOND);
    assert_eq!(ids(&bench.claim(10).await.1), ids(&first));
}

pub async fn a_stale_token_changes_nothing(bench: &Bench) {
    bench.written(1).await;
    let (stale, rows) = bench.claim(10).await;
    bench.clock.advance(LEASE);
    let (live, _) = bench.claim(10).await;
    bench.store.finish(stale, &ids(&rows)).await.expect("answers");
    bench.store.release(stale, &ids(&rows)).await.expect("answers");
    bench.store.postpone(stale, &[(rows[0].id, bench.clock.now())]).await.expect("answers");
    assert_eq!(bench.waiting().await, 1, "not finished");
    assert!(bench.claim(10).await.1.is_empty(), "not given back");
    bench.store.finish(live, &ids(&rows)).await.expect("answers");
    assert_eq!(bench.waiting().await, 0);
}

pub async fn a_postponed_row_is_due_at_its_time_with_one_failure_more(bench: &Bench) {
    bench.written(2).await;
    let (token, rows) = bench.claim(10).await;
    let later = bench.clock.now() + Duration::from_secs(9);
    bench.store.postpone(token, &[(rows[0].id, later)]).await.expect("postponed");
    bench.store.finish(token, &[rows[1].id]).await.expect("finished");
    bench.clock.advance(Duration::from_secs(8));
    assert!(bench.claim(10).await.1.is_empty());
    bench.clock.advance(Duration::from_secs(1));
    let (_, again) = bench.claim(10).await;
    assert_eq!((again[0].id, again[0].failures), (rows[0].id, 1));
}

pub async fn a_released_row_is_due_at_once_without_a_failure(bench: &Bench) {
    bench.written(1).await;
    let (token, rows) = bench.claim(10).await;
    bench.store.release(token, &ids(&rows)).await.expect("released");
    let (_, again) = bench.claim(10).await;
    assert_eq!((again[0].id, again[0].failures), (rows[0].id, 0));
}

pub async fn a_row_is_finished_only_after_its_confirm(bench: &Bench) {
    let sent = bench.written(3).await;
    let broker = Arc::new(FakeBroker::silent(|_| Ok(())));
    let mut relay = bench.relay(&broker);
    let watching = async {
        broker.arrived.acquire().await.expect("arrives").forget();
        assert_eq!(bench.waiting().await, 3, "published, not confirmed");
        broker.speak();
    };
    let (round, ()) = tokio::join!(relay.run_once(), watching);
    assert_eq!(round.expect("a round"), Progress::Idle);
    assert_eq!(bench.waiting().await, 0);
    assert_eq!(broker.bodies(), published(&sent));
}

pub async fn a_refused_row_stays_and_is_tried_again_later_while_the_others_go(bench: &Bench) {
    let sent = bench.written(3).await;
    let bad = sent[1].id.clone();
    let refuse = move |event: &Event| if event.id == bad { Err(BrokerError::Unroutable) } else { Ok(()) };
    let broker = Arc::new(FakeBroker::answering(refuse));
    let mut relay = bench.relay(&broker);
    assert_eq!(relay.run_once().await.expect("a round"), Progress::Idle);
    assert_eq!(bench.waiting().await, 1);
    relay.run_once().await.expect("a round");
    assert_eq!(broker.bodies().len(), 3, "not due yet");
    bench.clock.advance(Duration::from_secs(1));
    broker.answer(|_| Ok(()));
    relay.run_once().await.expect("a round");
    assert_eq!(bench.waiting().await, 0);
    assert_eq!(broker.bodies()[3], sent[1].to_json());
}

pub async fn a_row_that_keeps_failing_is_tried_ever_more_slowly_up_to_a_minute(bench: &Bench) {
    bench.written(1).await;
    let broker = Arc::new(FakeBroker::answering(|_| Err(BrokerError::Refused)));
    let mut relay = bench.relay(&broker);
    for (failures, seconds) in [1, 2, 4, 8, 16, 32, 60, 60, 60].into_iter().enumerate() {
        relay.run_once().await.expect("a round");
        assert_eq!(broker.bodies().len(), failures + 1);
        bench.clock.advance(Duration::from_millis(seconds * 500 - 1));
        relay.run_once().await.expect("a round");
        assert_eq!(broker.bodies().len(), failures + 1, "waits at least half of {seconds} s");
        bench.clock.advance(Duration::from_millis(seconds * 500 + 1));
    }
}

pub async fn an_outage_of_the_broker_is_no_failure_of_the_rows(bench: &Bench) {
    bench.written(2).await;
    let broker = Arc::new(FakeBroker::answering(|_| Err(down())));
    let mut relay = bench.relay(&broker);
    for _ in 0..5 {
        relay.run_once().await.expect_err("the loop must back off");
    }
    let (token, rows) = bench.claim(10).await;
    assert_eq!(rows.iter().map(|row| row.failures).collect::<Vec<_>>(), [0, 0], "due, and no failure");
    bench.store.release(token, &ids(&rows)).await.expect("released");
    broker.answer(|_| Ok(()));
    relay.run_once().await.expect("a round");
    assert_eq!(bench.waiting().await, 0);
}

pub async fn a_relay_that_dies_before_the_confirm_loses_nothing(bench: &Bench) {
    let sent = bench.written(2).await;
    let hung = Arc::new(FakeBroker::silent(|_| Ok(())));
    let mut dying = bench.relay(&hung);
    tokio::select! {
        _ = dying.run_once() => panic!("nobody has confirmed"),
        arrived = hung.arrived.acquire() => arrived.expect("arrives").forget(),
    }
    drop(dying);
    assert_eq!(bench.waiting().await, 2);
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let mut heir = bench.relay(&broker);
    heir.run_once().await.expect("a round");
    assert!(broker.bodies().is_empty(), "still under the dead relay's lease");
    bench.clock.advance(LEASE);
    heir.run_once().await.expect("a round");
    assert_eq!(broker.bodies(), published(&sent));
    assert_eq!(bench.waiting().await, 0);
}

/// A relay that looked into the table just now, and what hands rows over to it.
async fn handed(bench: &Bench, broker: &Arc<FakeBroker>) -> (Relay, Handover) {
    let mut relay = bench.relay(broker);
    let handover = relay.handover(Arc::default());
    assert_eq!(relay.run_once().await.expect("a round"), Progress::Idle);
    (relay, handover)
}

pub async fn what_is_handed_over_is_published_without_a_look_into_the_table(bench: &Bench) {
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let (mut relay, handover) = handed(bench, &broker).await;
    bench.written(1).await;
    assert_eq!(bench.handed_over(&handover, 2).await, 2);
    relay.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (2, 1));
    handover.ring();
    relay.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (3, 0), "it was told to look");
    bench.written(1).await;
    bench.clock.advance(Duration::from_secs(1));
    relay.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (4, 0), "it looks every second anyway");
}

pub async fn what_was_handed_to_a_process_that_died_is_found_when_its_lease_ends(bench: &Bench) {
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let (dead, handover) = handed(bench, &broker).await;
    bench.handed_over(&handover, 2).await;
    drop(dead);
    let mut heir = bench.relay(&broker);
    heir.run_once().await.expect("a round");
    assert_eq!(broker.bodies().len(), 0, "still under the dead one's lease");
    bench.clock.advance(LEASE);
    heir.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (2, 0));
}

pub async fn what_was_handed_over_too_long_ago_is_left_to_whoever_claims_it(bench: &Bench) {
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let (mut relay, handover) = handed(bench, &broker).await;
    bench.handed_over(&handover, 2).await;
    bench.clock.advance(Duration::from_secs(6));
    relay.run_once().await.expect("a round");
    assert_eq!(broker.bodies().len(), 0, "publishing could outlast the lease");
    bench.clock.advance(LEASE);
    relay.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (2, 0));
}

pub async fn an_outage_gives_back_what_was_handed_over(bench: &Bench) {
    let broker = Arc::new(FakeBroker::answering(|_| Err(down())));
    let (mut relay, handover) = handed(bench, &broker).await;
    bench.handed_over(&handover, 2).await;
    relay.run_once().await.expect_err("the loop must back off");
    broker.answer(|_| Ok(()));
    relay.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (4, 0), "found in the table at once");
}

pub async fn a_relay_that_is_behind_is_handed_no_more_until_it_has_caught_up(bench: &Bench) {
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let (mut relay, handover) = handed(bench, &broker).await;
    for _ in 0..20 {
        assert_eq!(bench.handed_over(&handover, 100).await, 100);
    }
    assert_eq!(bench.handed_over(&handover, 1).await, 0);
    for _ in 0..2 {
        assert_eq!(relay.run_once().await.expect("a round"), Progress::More);
    }
    assert_eq!(bench.handed_over(&handover, 500).await, 500, "the first batch is forgotten");
    while relay.run_once().await.expect("a round") == Progress::More {}
    assert_eq!((broker.bodies().len(), bench.waiting().await), (2_500, 0));
}

pub async fn the_next_batch_is_published_while_the_last_one_is_being_forgotten(bench: &Bench) {
    let (store, broker) = (SlowToForget::of(&bench.store), Arc::new(FakeBroker::answering(|_| Ok(()))));
    let publishing: Arc<dyn Broker> = broker.clone();
    let mut relay = Relay::new(store.clone(), publishing, bench.sources.clone());
    let handover = relay.handover(Arc::default());
    relay.run_once().await.expect("a first look");
    bench.handed_over(&handover, 1).await;
    let second = async {
        store.asked.acquire().await.expect("asked").forget();
        assert_eq!(bench.handed_over(&handover, 1).await, 1);
    };
    let (round, ()) = tokio::join!(relay.run_once(), second);
    assert_eq!(round.expect("a round"), Progress::More);
    let watching = async {
        while broker.bodies().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.waiting().await, 2, "neither is forgotten");
        store.go_on.add_permits(2);
    };
    let (round, ()) = tokio::join!(relay.run_once(), watching);
    assert_eq!((round.expect("a round"), bench.waiting().await), (Progress::Idle, 0));
}

pub async fn a_relay_that_stops_gives_back_what_it_was_handed(bench: &Bench) {
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let (mut relay, handover) = handed(bench, &broker).await;
    bench.handed_over(&handover, 2).await;
    relay.give_up().await.expect("given back");
    assert_eq!(bench.claim(10).await.1.len(), 2);
}

pub async fn rows_from_a_clock_that_was_ahead_are_published_though_it_is_set_back(bench: &Bench) {
    bench.clock.advance(Duration::from_hours(1));
    let (token, refused) = bench.claim_written(1).await;
    let due = bench.clock.now() + Duration::from_secs(2);
    bench.store.postpone(token, &[(refused, due)]).await.expect("postponed");
    bench.claim_written(1).await;
    bench.written(2).await;
    bench.clock.step(TimeDelta::hours(-1));
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let mut relay = bench.relay(&broker);
    relay.run_once().await.expect("a round");
    assert_eq!(broker.bodies().len(), 2, "what was due then is due now");
    bench.clock.advance(LEASE);
    relay.run_once().await.expect("a round");
    assert_eq!(broker.bodies().len(), 3, "a lease ends within its length");
    bench.clock.advance(Duration::from_mins(1));
    relay.run_once().await.expect("a round");
    assert_eq!((broker.bodies().len(), bench.waiting().await), (4, 0), "a refused row within a minute");
}

pub async fn a_lease_that_is_held_outlasts_a_jump_of_the_clock(bench: &Bench) {
    bench.clock.step(TimeDelta::hours(-1));
    bench.clock.now();
    bench.claim_written(1).await;
    bench.clock.step(TimeDelta::hours(1));
    assert_eq!(bench.claim(10).await.1.len(), 0);
    bench.clock.advance(LEASE);
    assert_eq!(bench.claim(10).await.1.len(), 1);
}

pub async fn a_full_claim_says_that_there_may_be_more(bench: &Bench) {
    bench.written(501).await;
    let broker = Arc::new(FakeBroker::answering(|_| Ok(())));
    let mut relay = bench.relay(&broker);
    assert_eq!(relay.run_once().await.expect("a round"), Progress::More);
    assert_eq!(relay.run_once().await.expect("a round"), Progress::Idle);
    assert_eq!(broker.bodies().len(), 501);
}

/// One test per sentence of the suite, each on a bench from `$fresh`.
#[macro_export]
macro_rules! outbox_suite {
    ($fresh:path: $($name:ident)*) => { $(
        #[tokio::test]
        async fn $name() {
            $crate::support::outbox::$name(&$fresh().await).await;
        }
    )* };
    ($fresh:path) => {
        $crate::outbox_suite! { $fresh:
            what_is_rolled_back_was_never_in_the_outbox
            an_event_that_waits_already_waits_once
            events_come_out_oldest_first_and_byte_for_byte
            the_backlog_is_counted_from_its_oldest_row
            two_relays_never_claim_the_same_row
            an_expired_lease_hands_its_rows_to_another_relay
            a_stale_token_changes_nothing
            a_postponed_row_is_due_at_its_time_with_one_failure_more
            a_released_row_is_due_at_once_without_a_failure
            a_row_is_finished_only_after_its_confirm
            a_refused_row_stays_and_is_tried_again_later_while_the_others_go
            a_row_that_keeps_failing_is_tried_ever_more_slowly_up_to_a_minute
            an_outage_of_the_broker_is_no_failure_of_the_rows
            a_relay_that_dies_before_the_confirm_loses_nothing
            what_is_handed_over_is_published_without_a_look_into_the_table
            what_was_handed_to_a_process_that_died_is_found_when_its_lease_ends
            what_was_handed_over_too_long_ago_is_left_to_whoever_claims_it
            an_outage_gives_back_what_was_handed_over
            a_relay_that_is_behind_is_handed_no_more_until_it_has_caught_up
            the_next_batch_is_published_while_the_last_one_is_being_forgotten
            a_relay_that_stops_gives_back_what_it_was_handed
            a_full_claim_says_that_there_may_be_more
            rows_from_a_clock_that_was_ahead_are_published_though_it_is_set_back
            a_lease_that_is_held_outlasts_a_jump_of_the_clock
        }
    };
}
