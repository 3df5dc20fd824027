//! Whose work waits in the database, and whose turn it is to have some of it claimed.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Room, in_turn};
use crate::domain::{Endpoint, SubscriptionId};

impl Room {
    /// Remembers that work of `subscription` waits in the database.
    pub fn mark(&mut self, subscription: SubscriptionId) {
        self.marks += 1;
        let is_new = self.backlog.insert(subscription, self.marks).is_none();
        if is_new && !self.queues.contains(&subscription) {
            self.unsupplied += 1;
        }
    }

    /// The same, unless that is known already.
    pub fn mark_if_unmarked(&mut self, subscription: SubscriptionId) {
        if !self.backlog.contains_key(&subscription) {
            self.mark(subscription);
        }
    }

    /// Forgets that work waits, unless it was marked anew after `mark`.
    pub fn clear(&mut self, subscription: SubscriptionId, mark: Option<u64>) {
        if self.mark_of(subscription) == mark
            && self.backlog.remove(&subscription).is_some()
            && !self.queues.contains(&subscription)
        {
            self.unsupplied -= 1;
        }
    }

    /// The mark of `subscription`, where its work waits.
    pub fn mark_of(&self, subscription: SubscriptionId) -> Option<u64> {
        self.backlog.get(&subscription).copied()
    }

    /// Whether work waits for anybody.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// It was this one's turn: waiting work is claimed for `count` slots of it. Whether retries have
    /// the odd one of them.
    pub fn serve(&mut self, subscription: SubscriptionId, count: u32) -> bool {
        self.last_served = Some(subscription);
        self.lanes.get_mut(&subscription).is_some_and(|lane| lane.claim(count))
    }

    /// Whether anything is to be claimed now that `subscription` has room: for itself, or where that is room
    /// that slow lanes share.
    pub fn is_to_be_claimed(&self, subscription: SubscriptionId, now: DateTime<Utc>) -> bool {
        let is_slow = || self.lanes.get(&subscription).is_some_and(|lane| lane.counted_slow);
        let own = self.backlog.contains_key(&subscription) && !self.is_supplied(subscription, now);
        own || (self.has_backlog() && is_slow())
    }

    /// Whether work waits in the database of lanes that have none in memory.
    pub fn has_unsupplied(&self) -> bool {
        self.unsupplied > 0
    }

    /// The lanes whose work waits and is not at hand, beginning after the one that was served last.
    pub fn backlog_in_turn(&self, now: DateTime<Utc>) -> Vec<Arc<Endpoint>> {
        let ids = in_turn(self.backlog.keys(), self.last_served);
        let unsupplied = ids.into_iter().filter(|id| !self.is_supplied(*id, now));
        unsupplied.filter_map(|id| self.lanes.get(&id)).map(|lane| lane.endpoint.clone()).collect()
    }

    /// When the first lane whose work waits for nothing but its rate or its receiver's pause may go on.
    pub fn next_token_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let lanes = self.backlog.keys().filter_map(|id| self.lanes.get(id));
        let may_go_on = lanes.filter_map(|lane| match lane.pause.until(now) {
            Some(until) => Some(until),
            None => (self.left(&lane.endpoint, now).both() > 0)
                .then(|| lane.bucket.ready_at(lane.endpoint.rate_limit, now)),
        });
        may_go_on.min()
    }
}
