//! Places for callers' connections. When all are taken, the connection that has waited longest for
//! its peer gives way to a new one, so that idle or slow callers, however many, shut no one out; a
//! request that is worked on is never cut off. When all are worked on, a new connection gets one of a few
//! reserved places, on which only [probes](super::probes) are answered.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::state::{State, millis};
use crate::recurring::Recurring;

/// How long a new connection waits before it looks again for one that may give way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long all places must have been taken, and none given way, before new connections get reserved ones.
const PATIENCE: Duration = Duration::from_secs(1);

static FULL: Recurring = Recurring::new();
static GAVE_WAY: LazyLock<IntCounter> = LazyLock::new(|| {
    IntCounter::new("ringback_connections_gave_way_total", "Connections of callers that gave way to others")
        .expect("a constant of the right form")
});

/// The places of one listener.
pub(super) struct Connections {
    free: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    taken: Taken,
    number: u64,
    began: Instant,
    /// Since when no newcomer has found an ordinary place.
    full_since: Option<Instant>,
}

type Taken = Arc<Mutex<HashMap<u64, Arc<State>>>>;

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    state: Arc<State>,
    number: u64,
    taken: Taken,
    is_reserved: bool,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// At most `most` at once, and `reserved` more for probes.
    pub(super) fn new(most: usize, reserved: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            reserved: Arc::new(Semaphore::new(reserved)),
            taken: Arc::default(),
            number: 0,
            began: Instant::now(),
            full_since: None,
        }
    }

    /// A place for one more connection, as soon as there is one.
    pub(super) async fn place(&mut self) -> Place {
        let (permit, is_reserved) = loop {
            if let Some(found) = self.look().await {
                break found;
            }
        };
        self.number += 1;
        let state = Arc::new(State::new(self.began));
        lock(&self.taken).insert(self.number, state.clone());
        Place { state, number: self.number, taken: self.taken.clone(), is_reserved, _permit: permit }
    }

    /// A permit and whether it is a reserved one, if there is one within a moment.
    async fn look(&mut self) -> Option<(OwnedSemaphorePermit, bool)> {
        let full_since = *self.full_since.get_or_insert_with(Instant::now);
        let gives_way = self.free.available_permits() == 0 && self.make_room();
        let is_patient = gives_way || full_since.elapsed() < PATIENCE;
        if !is_patient
            && self.free.available_permits() == 0
            && let Ok(permit) = self.reserved.clone().try_acquire_owned()
        {
            return Some((permit, true));
        }
        let permit = timeout(LOOK_AGAIN, self.free.clone().acquire_owned()).await.ok()?;
        self.full_since = None;
        Some((permit.expect("the semaphore is never closed"), false))
    }

    /// Asks the connection that has waited longest for its peer to give way, if there is one; an idle one
    /// before one whose request arrives, and this before one whose answer is not taken. Whether one does.
    pub(super) fn make_room(&self) -> bool {
        let taken = lock(&self.taken);
        let now = millis(self.began.elapsed());
        let waiting = taken.values().filter_map(|state| Some((state.waits_long(now)?, state)));
        let longest = waiting.min_by_key(|(phase, _)| *phase).map(|(phase, state)| (phase, state.clone()));
        let count = taken.len();
        drop(taken);
        if let Some(times) = FULL.note("full") {
            tracing::warn!(connections = count, times, "connections.full");
        }
        let gives_way = longest.is_some_and(|(phase, state)| state.ask_to_give_way(phase));
        if gives_way {
            GAVE_WAY.inc();
        }
        gives_way
    }
}

/// Shows in `registry` how many connections gave way, of all listeners of the process.
pub(super) fn register_metrics(registry: &Registry) {
    registry.register(Box::new(GAVE_WAY.clone())).expect("each shell has a registry of its own");
}

impl Place {
    /// Whom the connection waits for.
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether only probes are answered on it.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.number);
    }
}

fn lock(taken: &Taken) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<State>>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::state::{MIN_SILENCE, MIN_WAIT};
    use super::*;

    fn is_asked(place: &Place) -> bool {
        place.state().asked_to_give_way().now_or_never().is_some()
    }

    async fn idle(connections: &mut Connections) -> Place {
        let place = connections.place().await;
        place.state().answers();
        place.state().has_sent();
        place
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waits_longest_for_its_peer_gives_way_and_one_that_works_never_does() {
        let mut connections = Connections::new(3, 0);
        let working = connections.place().await;
        assert!(working.state().works());
        let (first, second) = (idle(&mut connections).await, idle(&mut connections).await);
        tokio::time::advance(Duration::from_millis(5)).await;
        first.state().answers();
        first.state().has_sent();
        tokio::time::advance(MIN_WAIT).await;

        let newcomer = connections.place();
        let giving_way = async {
            second.state().asked_to_give_way().await;
            drop(second);
        };
        let (newcomer, ()) = tokio::join!(newcomer, giving_way);
        assert!(!is_asked(&working) && !is_asked(&first));
        drop((working, first, newcomer));
        assert!(lock(&connections.taken).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_gives_way_before_a_request_that_arrives_and_this_before_an_unsent_answer() {
        let mut connections = Connections::new(4, 0);
        let answered = connections.place().await;
        answered.state().answers();
        tokio::time::advance(Duration::from_millis(5)).await;
        let arriving = connections.place().await;
        arriving.state().receives();
        tokio::time::advance(Duration::from_millis(5)).await;
        let (idle, silent) = (idle(&mut connections).await, connections.place().await);
        tokio::time::advance(MIN_WAIT).await;
        let before = GAVE_WAY.get();
        for next in [silent, idle, arriving, answered] {
            assert!(connections.make_room());
            assert!(is_asked(&next));
        }
        assert!(!connections.make_room(), "each is asked once");
        assert!(GAVE_WAY.get() >= before + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_waited_for_less_than_a_second_does_not_give_way() {
        let mut connections = Connections::new(1, 0);
        let only = idle(&mut connections).await;
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(!connections.make_room() && !is_asked(&only));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(connections.make_room() && is_asked(&only));
        assert!(!only.state().works(), "it gives way, so no request of it begins");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_that_is_silent_gives_way_after_a_tenth_of_a_second() {
        let mut connections = Connections::new(1, 0);
        let only = connections.place().await;
        assert!(!connections.make_room());
        tokio::time::advance(MIN_SILENCE).await;
        assert!(connections.make_room() && is_asked(&only));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_begins_before_its_connection_gives_way_keeps_it() {
        let mut connections = Connections::new(1, 0);
        let only = connections.place().await;
        tokio::time::advance(2 * MIN_WAIT).await;
        let phase = only.state().waits_long(millis(connections.began.elapsed())).expect("long enough");
        assert!(only.state().works());
        assert!(!only.state().ask_to_give_way(phase));
        assert!(!is_asked(&only));
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_work_a_newcomer_waits_until_one_has_answered() {
        let mut connections = Connections::new(1, 0);
        let only = connections.place().await;
        assert!(only.state().works());
        assert!(timeout(Duration::from_secs(1), connections.place()).await.is_err());
        only.state().answers();
        let giving_way = async {
            only.state().asked_to_give_way().await;
            drop(only);
        };
        tokio::join!(connections.place(), giving_way);
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_work_for_a_second_a_newcomer_gets_a_reserved_place() {
        let mut connections = Connections::new(1, 1);
        let only = connections.place().await;
        assert!(only.state().works());
        let began = Instant::now();
        let reserved = connections.place().await;
        assert!(reserved.is_reserved() && began.elapsed() >= PATIENCE);
        drop(reserved);
        assert!(connections.place().await.is_reserved());
        drop(only);
        assert!(!connections.place().await.is_reserved(), "an ordinary one is free again");
    }
}
