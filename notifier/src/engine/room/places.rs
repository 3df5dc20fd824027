//! The places behind the slots: who is under lease and waits in memory, and when its turn comes.

use chrono::{DateTime, Utc};

use super::{Room, in_turn};
use crate::domain::{Endpoint, SubscriptionId};
use crate::engine::queue::{Queue, Turn};

/// How many may wait in memory for each attempt that may be under way.
const PLACES_PER_SLOT: u32 = 4;
/// Of so many slots, one is not for those who wait in memory while others' work waits in the database. A
/// smaller room has no places.
const SPARE: u32 = 16;

/// The places behind a lane, and how many of them are taken.
#[derive(Clone, Copy)]
struct Supply {
    places: u32,
    waiting: u32,
}

impl Supply {
    fn left(self) -> u32 {
        self.places.saturating_sub(self.waiting)
    }
}

impl Room {
    /// Takes places behind the slots of `endpoint`, `max` at the most.
    pub fn join(&mut self, endpoint: &Endpoint, now: DateTime<Utc>, max: u32) -> Vec<Turn> {
        let count = self.supply(endpoint.subscription, now).map_or(0, |supply| supply.left().min(max));
        let join = |queue: &mut Queue| (0..count).map(|_| queue.join()).collect();
        self.change_queue(endpoint.subscription, join).unwrap_or_default()
    }

    /// Somebody has left a queue of `subscription`.
    pub fn forget_gone(&mut self, subscription: SubscriptionId) {
        self.change_queue(subscription, Queue::forget_gone);
    }

    /// Calls those who wait for slots where there are some, and lets those go whose lane is to be left.
    pub fn settle(&mut self, now: DateTime<Utc>) {
        for subscription in self.queues.clone() {
            self.fill_or_dismiss(subscription, now);
        }
    }

    /// Whether so much of `subscription` is at hand that there is no need to claim more.
    pub fn is_supplied(&self, subscription: SubscriptionId, now: DateTime<Utc>) -> bool {
        self.supply(subscription, now)
            .is_some_and(|supply| supply.places > 0 && supply.waiting * 3 >= supply.places)
    }

    /// The places behind a lane that has been used.
    fn supply(&self, subscription: SubscriptionId, now: DateTime<Utc>) -> Option<Supply> {
        let lane = self.lanes.get(&subscription).filter(|_| !self.closed)?;
        let waiting = lane.queue.len();
        let all = if self.max < SPARE { 0 } else { self.max.saturating_mul(PLACES_PER_SLOT) };
        let left_by_others = all.saturating_sub(self.queued.saturating_sub(waiting));
        let lanes = u32::try_from(self.queues.len().max(self.backlog.len()).max(1)).unwrap_or(u32::MAX);
        let places = lane.places(now).min(left_by_others / 2).min((all / lanes).max(1)).min(all);
        Some(Supply { places, waiting })
    }

    /// How many slots may be taken before nobody is called from memory.
    fn for_queues(&self) -> u32 {
        self.max - if self.has_unsupplied() { self.max / SPARE } else { 0 }
    }

    pub(super) fn change_queue<T>(
        &mut self,
        subscription: SubscriptionId,
        change: impl FnOnce(&mut Queue) -> T,
    ) -> Option<T> {
        let queue = &mut self.lanes.get_mut(&subscription)?.queue;
        let before = queue.len();
        let answer = change(queue);
        self.queued = self.queued.saturating_sub(before) + queue.len();
        let waits = self.backlog.contains_key(&subscription);
        if queue.is_empty() {
            let was_there = self.queues.remove(&subscription);
            self.unsupplied += usize::from(was_there && waits);
        } else {
            let is_new = self.queues.insert(subscription);
            self.unsupplied -= usize::from(is_new && waits);
        }
        Some(answer)
    }

    pub(super) fn fill_or_dismiss(&mut self, subscription: SubscriptionId, now: DateTime<Utc>) {
        if self.lanes.get(&subscription).is_some_and(|lane| lane.is_to_be_left(now)) {
            self.change_queue(subscription, Queue::dismiss);
        } else {
            self.fill(subscription, now);
        }
    }

    /// Calls as many of those who wait in the lane as there is room for: not all that the process has,
    /// while others' work waits in the database. Whether there was any.
    pub(super) fn fill(&mut self, subscription: SubscriptionId, now: DateTime<Utc>) -> bool {
        let Some(lane) = self.lanes.get(&subscription).filter(|lane| !lane.queue.is_empty()) else {
            return false;
        };
        let (endpoint, waiting) = (lane.endpoint.clone(), lane.queue.len());
        let count = self.take(&endpoint, now, waiting.min(self.for_queues().saturating_sub(self.taken)));
        for _ in 0..count {
            if self.change_queue(subscription, Queue::call) != Some(true) {
                self.give_back(subscription, now);
            }
        }
        count > 0
    }

    /// There is room for one more in the process: if that is what was missing, the next lane in turn
    /// whose own slots are not all taken has it.
    pub(super) fn leave(&mut self, now: DateTime<Utc>) {
        let was_full = self.taken >= self.for_queues();
        self.taken = self.taken.saturating_sub(1);
        if was_full && !self.queues.is_empty() {
            for subscription in in_turn(&self.queues, self.last_called) {
                if self.fill(subscription, now) {
                    self.last_called = Some(subscription);
                    return;
                }
            }
        }
    }
}
