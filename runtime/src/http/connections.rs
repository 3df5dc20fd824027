//! Places for callers' connections. When all are taken, the connection that has waited longest for
//! its peer gives way to a new one, so that idle or slow callers, however many, shut no one out; a
//! request that is worked on is never cut off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::recurring::Recurring;

/// How long a new connection waits before it looks again for one that may give way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a connection may wait for its peer before it gives way: an answer is on its way, or the next
/// request of a busy caller.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// The state of a connection whose request is worked on.
const BUSY: u64 = u64::MAX;
/// The state of one that was asked to give way.
const GIVES_WAY: u64 = u64::MAX - 1;

static FULL: Recurring = Recurring::new();

/// The places of one listener.
pub(super) struct Connections {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<u64, Arc<State>>>>,
    number: u64,
    began: Instant,
}

/// A connection's place; free again when it is dropped.
pub(super) struct Place {
    state: Arc<State>,
    number: u64,
    taken: Arc<Mutex<HashMap<u64, Arc<State>>>>,
    _permit: OwnedSemaphorePermit,
}

/// Whom a connection waits for.
pub(super) struct State {
    /// Since when it waits for its peer, in milliseconds; or [`BUSY`], or [`GIVES_WAY`].
    waits_since: AtomicU64,
    give_way: Notify,
    began: Instant,
}

impl Connections {
    /// At most `most` at once.
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), taken: Arc::default(), number: 0, began: Instant::now() }
    }

    /// A place for one more connection, as soon as there is one.
    pub(super) async fn place(&mut self) -> Place {
        let free = self.free.clone();
        let permit = loop {
            if let Ok(permit) = free.clone().try_acquire_owned() {
                break permit;
            }
            self.make_room();
            if let Ok(permit) = timeout(LOOK_AGAIN, free.clone().acquire_owned()).await {
                break permit.expect("the semaphore is never closed");
            }
        };
        self.number += 1;
        let state = Arc::new(State::new(self.began));
        lock(&self.taken).insert(self.number, state.clone());
        Place { state, number: self.number, taken: self.taken.clone(), _permit: permit }
    }

    /// Asks the connection that has waited longest for its peer to give way, if there is one.
    pub(super) fn make_room(&self) {
        let taken = lock(&self.taken);
        let now = millis(self.began.elapsed());
        let waiting = taken.values().filter_map(|state| Some((state.waits_long(now)?, state)));
        let longest = waiting.min_by_key(|(since, _)| *since).map(|(since, state)| (since, state.clone()));
        let count = taken.len();
        drop(taken);
        if let Some(times) = FULL.note("full") {
            tracing::warn!(connections = count, times, "connections.full");
        }
        if let Some((since, state)) = longest {
            state.ask_to_give_way(since);
        }
    }
}

impl Place {
    /// Whom the connection waits for.
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.number);
    }
}

impl State {
    fn new(began: Instant) -> Self {
        let state = Self { waits_since: AtomicU64::new(BUSY), give_way: Notify::new(), began };
        state.waits_for_peer();
        state
    }

    /// From now on it waits for its peer: to send a request, or to take an answer.
    pub(super) fn waits_for_peer(&self) {
        self.change(millis(self.began.elapsed()));
    }

    /// From now on a request that has arrived whole is worked on. Whether it is: a connection that was asked
    /// to give way before ends without beginning it.
    pub(super) fn works(&self) -> bool {
        self.change(BUSY)
    }

    /// Changes the state, unless the connection was asked to give way.
    fn change(&self, to: u64) -> bool {
        let change = |state| (state != GIVES_WAY).then_some(to);
        self.waits_since.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    /// Since when it waits for its peer, where that is long enough at `now` for it to give way.
    fn waits_long(&self, now: u64) -> Option<u64> {
        let since = self.waits_since.load(Ordering::Acquire);
        (since < GIVES_WAY && now.saturating_sub(since) >= millis(MIN_WAIT)).then_some(since)
    }

    /// Asks it to give way, unless it has done anything else than wait `since` then.
    fn ask_to_give_way(&self, since: u64) -> bool {
        let asked =
            self.waits_since.compare_exchange(since, GIVES_WAY, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if asked {
            self.give_way.notify_one();
        }
        asked
    }

    /// Waits until the place is needed for another connection.
    pub(super) async fn asked_to_give_way(&self) {
        self.give_way.notified().await;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(GIVES_WAY - 1)
}

fn lock(taken: &Mutex<HashMap<u64, Arc<State>>>) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<State>>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waits_longest_for_its_peer_gives_way_and_one_that_works_never_does() {
        let mut connections = Connections::new(3);
        let working = connections.place().await;
        working.state().works();
        tokio::time::advance(Duration::from_millis(5)).await;
        let first = connections.place().await;
        tokio::time::advance(Duration::from_millis(5)).await;
        let second = connections.place().await;
        tokio::time::advance(Duration::from_millis(5)).await;
        first.state().waits_for_peer();
        tokio::time::advance(MIN_WAIT).await;

        let newcomer = connections.place();
        let giving_way = async {
            second.state().asked_to_give_way().await;
            drop(second);
        };
        let (newcomer, ()) = tokio::join!(newcomer, giving_way);
        assert!(working.state().asked_to_give_way().now_or_never().is_none());
        assert!(first.state().asked_to_give_way().now_or_never().is_none());
        drop((working, first, newcomer));
        assert!(lock(&connections.taken).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_waited_for_less_than_a_second_does_not_give_way() {
        let mut connections = Connections::new(1);
        let only = connections.place().await;
        tokio::time::advance(Duration::from_millis(999)).await;
        connections.make_room();
        assert!(only.state().asked_to_give_way().now_or_never().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        connections.make_room();
        assert!(only.state().asked_to_give_way().now_or_never().is_some());
        assert!(!only.state().works(), "it gives way, so no request of it begins");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_begins_before_its_connection_gives_way_keeps_it() {
        let mut connections = Connections::new(1);
        let only = connections.place().await;
        tokio::time::advance(2 * MIN_WAIT).await;
        let since = only.state().waits_long(millis(connections.began.elapsed())).expect("long enough");
        assert!(only.state().works());
        assert!(!only.state().ask_to_give_way(since));
        assert!(only.state().asked_to_give_way().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_work_a_newcomer_waits_until_one_has_answered() {
        let mut connections = Connections::new(1);
        let only = connections.place().await;
        only.state().works();
        assert!(timeout(Duration::from_secs(1), connections.place()).await.is_err());
        only.state().waits_for_peer();
        let giving_way = async {
            only.state().asked_to_give_way().await;
            drop(only);
        };
        tokio::join!(connections.place(), giving_way);
    }
}
