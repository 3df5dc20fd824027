//! A hundred subscriptions, of which some hang, drip, refuse or fail: the others get all that is
//! theirs without waiting for any of those, and what those hold is bounded (law 7).

use std::sync::Arc;
use std::time::Duration;

use messaging::Event;
use messaging::consumer::HandleEvents;
use notifier::domain::Verdict;
use notifier::domain::subscription::Draft;
use runtime::Clock;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::support::memory::Row;
use crate::support::receiver::{Act, Receiver, answer};
use crate::support::rig::{Rig, climbing, id};

const SUBSCRIPTIONS: usize = 100;
/// Rounds of events, so far apart that ladders of a second are climbed beside them.
const ROUNDS: usize = 3;
const APART: Duration = Duration::from_millis(500);
/// Events of a round: as many as a new lane may take at once.
const EVENTS: usize = 8;
/// How many may be under lease in memory behind each slot, as docs/notifier.md has it.
const PLACES_PER_SLOT: usize = 4;
/// The longest that a subscription may have, and longer than any of these tests may take.
const TIMEOUT: &str = "30s";
const PATIENCE: Duration = Duration::from_secs(25);
/// Nothing listens on this machine's port for a service of old.
const REFUSING: &str = "http://127.0.0.1:1/hook";

async fn hanging() -> String {
    Receiver::start(vec![Act::Hold(Arc::new(Semaphore::new(0)))]).await.url()
}

async fn dripping() -> String {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    Receiver::start(vec![Act::WriteForEver(head, b"x".to_vec(), Duration::from_millis(50))]).await.url()
}

/// Some that misbehave, who come first in every order, and others that answer at once.
struct Neighbourhood {
    rig: Rig,
    room: usize,
    bad: usize,
    /// As many of the bad ones, the first, never come to an end.
    endless: usize,
    /// What the good ones should have been told by now.
    due: usize,
}

impl Neighbourhood {
    /// Those that misbehave hear of `order.late` alone, the others of everything.
    async fn start(room: u32, bad: Vec<String>, endless: usize) -> Self {
        let good = Receiver::start(vec![answer(200, "", "ok")]).await.url();
        let draft = |n: usize| {
            let (url, heard) = bad.get(n).map_or((&good, "*"), |bad| (bad, "order.late"));
            Draft {
                timeout: TIMEOUT.parse().expect("a duration"),
                event_types: vec![heard.into()],
                ..climbing(url, &["1s"; 20])
            }
        };
        let rig = Rig::with_room(room, (0..SUBSCRIPTIONS).map(draft).collect());
        Self { rig, room: room as usize, bad: bad.len(), endless, due: 0 }
    }

    /// One that hangs, one that drips, one that refuses, one that answers 500.
    async fn with_the_four(room: u32) -> Self {
        let failing = Receiver::start(vec![answer(500, "", "no")]).await.url();
        Self::start(room, vec![hanging().await, dripping().await, failing, REFUSING.into()], 2).await
    }

    async fn with_fifty_that_hang(room: u32) -> Self {
        let hanging = hanging().await;
        Self::start(room, vec![hanging; 50], 50).await
    }

    /// Of the first `subscriptions`, how many notifications are as `which` wants them.
    fn of_the_first(&self, subscriptions: usize, which: impl Fn(&Row) -> bool) -> usize {
        self.rig.store.count(|row| row.endpoint.subscription < id(subscriptions) && which(row))
    }

    fn told(&self) -> usize {
        let delivered = |row: &Row| row.verdict == Some(Verdict::Delivered);
        self.of_the_first(SUBSCRIPTIONS, delivered) - self.of_the_first(self.bad, delivered)
    }

    /// What never ends has half of the room at the most, everything together no more than there is. No more
    /// than [`PLACES_PER_SLOT`] times as many are under lease behind that. Tasks are bounded alike: some for
    /// each attempt under way, here and in the receivers, one for each that waits in memory, and none for
    /// what waits in the database.
    fn check_bounds(&self) {
        let under_lease = |row: &Row| row.lease.is_some();
        let endless = self.of_the_first(self.endless, under_lease);
        assert!(endless <= self.room / 2, "{endless} of {} never end", self.room);
        let under_way = self.rig.metric("ringback_attempts_in_flight");
        assert!(
            under_way <= f64::from(u32::try_from(self.room).expect("few")),
            "{under_way} of {} are under way",
            self.room
        );
        let all = self.of_the_first(SUBSCRIPTIONS, under_lease);
        let behind = PLACES_PER_SLOT * self.room;
        assert!(all <= self.room + behind, "{all} under lease for a room of {}", self.room);
        let tasks = Handle::current().metrics().num_alive_tasks();
        assert!(
            tasks <= 4 * self.room + behind + 2 * SUBSCRIPTIONS,
            "{tasks} tasks for a room of {}",
            self.room
        );
    }

    /// Events come in, and while the clock stands still every good one is told of all of them.
    async fn round(&mut self, kind: &str) {
        let now = self.rig.clock.now();
        let event = |_| Event::new(self.rig.sources.ids.next(), "/test", kind, now, &()).expect("an event");
        let events: Vec<Event> = (0..EVENTS).map(event).collect();
        self.rig.ingest.handle(events).await.expect("taken in");
        self.due += EVENTS * (SUBSCRIPTIONS - self.bad);
        let all_told = async {
            loop {
                self.rig.dispatch().await;
                let changed = self.rig.store.changed();
                self.check_bounds();
                if self.told() == self.due {
                    return;
                }
                changed.await;
                self.rig.settle().await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, all_told).await;
        assert!(told.is_ok(), "{} of {} were told", self.told(), self.due);
        assert_eq!(
            self.of_the_first(self.endless, |row| !row.attempts.is_empty()),
            0,
            "none had ended by then"
        );
    }

    async fn live_on(&mut self) {
        for _ in 0..ROUNDS {
            self.round("order.late").await;
            self.rig.clock.advance(APART);
        }
        let waiting = self.of_the_first(self.bad, |row| row.verdict.is_none() && row.lease.is_none());
        assert!(waiting > 0, "what the bad ones could not take waits in the database");
    }
}

#[tokio::test]
async fn one_that_hangs_one_that_drips_one_that_refuses_and_one_that_fails_hold_nobody_back() {
    Neighbourhood::with_the_four(256).await.live_on().await;
}

#[tokio::test]
async fn nor_do_they_where_the_room_is_for_sixteen() {
    Neighbourhood::with_the_four(16).await.live_on().await;
}

#[tokio::test]
async fn fifty_that_hang_hold_none_of_fifty_others_back_though_none_has_answered_before() {
    Neighbourhood::with_fifty_that_hang(256).await.live_on().await;
}

#[tokio::test]
async fn fifty_that_hang_in_a_room_for_sixteen_hold_none_back_that_has_answered_before() {
    let mut neighbourhood = Neighbourhood::with_fifty_that_hang(16).await;
    neighbourhood.round("order.paid").await;
    neighbourhood.live_on().await;
}
