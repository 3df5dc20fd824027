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
/// The state of a connection whose request is worked on, and of one that was asked to give way.
const BUSY: u64 = u64::MAX;

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
    /// Since when it waits for its peer, in milliseconds; or [`BUSY`].
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
        let waits_since = |state: &State| state.waits_since.load(Ordering::Relaxed);
        let waiting = taken.values().filter(|state| waits_since(state) != BUSY);
        let longest = waiting.min_by_key(|state| waits_since(state)).cloned();
        let count = taken.len();
        drop(taken);
        if let Some(times) = FULL.note("full") {
            tracing::warn!(connections = count, times, "connections.full");
        }
        if let Some(state) = longest {
            // Asked once; it ends whatever it does meanwhile.
            state.waits_since.store(BUSY, Ordering::Relaxed);
            state.give_way.notify_one();
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
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(BUSY - 1);
        self.waits_since.store(now, Ordering::Relaxed);
    }

    /// From now on a request that has arrived whole is worked on.
    pub(super) fn works(&self) {
        self.waits_since.store(BUSY, Ordering::Relaxed);
    }

    /// Waits until the place is needed for another connection.
    pub(super) async fn asked_to_give_way(&self) {
        self.give_way.notified().await;
    }
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
