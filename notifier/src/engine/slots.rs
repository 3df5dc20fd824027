//! Who may start an attempt now: the process's bound, each subscription's bound and rate, and a
//! fair share for everybody (law 7).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::domain::{Directory, Endpoint, SubscriptionId};

use super::rate::Bucket;

/// The room for attempts in this process. Clones share it.
#[derive(Clone)]
pub struct Slots {
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    max: u32,
    taken: u32,
    closed: bool,
    lanes: BTreeMap<SubscriptionId, Lane>,
    /// The lanes whose work is known or suspected to wait in the database, each with the number of
    /// the mark that says so.
    backlog: BTreeMap<SubscriptionId, u64>,
    marks: u64,
    /// Whose turn it was last, so that no lane always comes last.
    last_served: Option<SubscriptionId>,
}

/// One subscription's use of the room.
struct Lane {
    endpoint: Arc<Endpoint>,
    taken: u32,
    bucket: Bucket,
}

impl Slots {
    /// Room for `max` attempts at once. `wake` rings when an attempt has ended while work waits.
    pub fn new(max: u32, wake: Arc<Notify>) -> Self {
        Self { state: Arc::new(Mutex::new(State { max: max.max(1), ..State::default() })), wake }
    }

    /// Gives out no more slots.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// A slot for a fresh delivery to `endpoint`. None while older work waits: that comes first.
    pub fn take_fresh(&self, endpoint: &Arc<Endpoint>, now: DateTime<Utc>) -> Option<Slot> {
        let mut state = self.lock();
        let older_waits = state.backlog.contains_key(&endpoint.subscription);
        let taken = state.take(endpoint, now, u32::from(!older_waits));
        drop(state);
        (taken == 1).then(|| self.slot(endpoint.subscription))
    }

    /// Slots for work that is known to wait, for every lane with room, `each` at the most.
    pub fn reserve_for_backlog(&self, now: DateTime<Utc>, each: u32) -> Vec<Reservation> {
        let endpoints = self.lock().backlog_in_turn();
        self.reserve(endpoints.iter(), now, each)
    }

    /// Slots for each of `endpoints` as far as there is room, `each` at the most. Those for which
    /// there is none are marked, so that their turn comes when there is.
    pub fn reserve<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
        now: DateTime<Utc>,
        each: u32,
    ) -> Vec<Reservation> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        for endpoint in endpoints {
            let subscription = endpoint.subscription;
            match state.take(endpoint, now, each) {
                0 => state.mark_if_unmarked(subscription),
                count => {
                    state.last_served = Some(subscription);
                    taken.push((subscription, count, state.backlog.get(&subscription).copied()));
                }
            }
        }
        drop(state);
        let reservation = |(subscription, count, mark)| Reservation {
            subscription,
            slots: (0..count).map(|_| self.slot(subscription)).collect(),
            mark,
        };
        taken.into_iter().map(reservation).collect()
    }

    /// Whether `endpoint` has room now.
    pub fn has_room(&self, endpoint: &Endpoint, now: DateTime<Utc>) -> bool {
        self.lock().room(endpoint, now) > 0
    }

    /// Remembers that work of `subscription` waits in the database.
    pub fn mark(&self, subscription: SubscriptionId) {
        self.lock().mark(subscription);
    }

    /// Forgets that work waits, unless it was marked anew after `mark`.
    pub fn clear(&self, subscription: SubscriptionId, mark: Option<u64>) {
        let mut state = self.lock();
        if state.backlog.get(&subscription).copied() == mark {
            state.backlog.remove(&subscription);
        }
    }

    /// When the first lane whose work waits for nothing but its rate may go on.
    pub fn next_token_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let state = self.lock();
        let lanes = state.backlog.keys().filter_map(|id| state.lanes.get(id));
        lanes
            .filter(|lane| state.room_but_for_rate(&lane.endpoint, lane.taken) > 0)
            .map(|lane| lane.bucket.ready_at(lane.endpoint.rate_limit, now))
            .min()
    }

    /// Follows changes of the subscriptions: new bounds count from now on, and lanes of those that
    /// are not active any more are forgotten once they are unused.
    pub fn follow(&self, directory: &Directory) {
        let mut state = self.lock();
        let active = |id| directory.get(id).filter(|entry| entry.active);
        state.lanes.retain(|id, lane| lane.taken > 0 || active(*id).is_some());
        state.backlog.retain(|id, _| active(*id).is_some());
        for (id, lane) in &mut state.lanes {
            if let Some(entry) = active(*id) {
                lane.endpoint = entry.endpoint.clone();
            }
        }
    }

    fn slot(&self, subscription: SubscriptionId) -> Slot {
        Slot { slots: self.clone(), subscription, started: false }
    }

    fn free(&self, subscription: SubscriptionId, started: bool) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(1);
        if let Some(lane) = state.lanes.get_mut(&subscription) {
            lane.taken = lane.taken.saturating_sub(1);
            if !started {
                lane.bucket.give_back(lane.endpoint.rate_limit, 1);
            }
        }
        // Who returns slots unused looks for work again by itself.
        if started && !state.backlog.is_empty() {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what room there is for `endpoint`, `max` at the most; how much that was.
    fn take(&mut self, endpoint: &Arc<Endpoint>, now: DateTime<Utc>, max: u32) -> u32 {
        let count = self.room(endpoint, now).min(max);
        let fresh = || Lane { endpoint: endpoint.clone(), taken: 0, bucket: Bucket::default() };
        let lane = self.lanes.entry(endpoint.subscription).or_insert_with(fresh);
        lane.taken += count;
        lane.bucket.take(endpoint.rate_limit, now, count);
        self.taken += count;
        count
    }

    fn room(&self, endpoint: &Endpoint, now: DateTime<Utc>) -> u32 {
        let lane = self.lanes.get(&endpoint.subscription);
        let room = self.room_but_for_rate(endpoint, lane.map_or(0, |lane| lane.taken));
        lane.map_or(Bucket::default(), |lane| lane.bucket).available(endpoint.rate_limit, now, room)
    }

    /// A lane may use half of what the others leave, so that however many hang, the next one still
    /// finds room.
    fn room_but_for_rate(&self, endpoint: &Endpoint, own: u32) -> u32 {
        if self.closed {
            return 0;
        }
        let left_by_others = self.max.saturating_sub(self.taken.saturating_sub(own));
        let share = (left_by_others / 2).max(1);
        let free = self.max.saturating_sub(self.taken);
        share.min(endpoint.max_in_flight).saturating_sub(own).min(free)
    }

    fn mark(&mut self, subscription: SubscriptionId) {
        self.marks += 1;
        self.backlog.insert(subscription, self.marks);
    }

    fn mark_if_unmarked(&mut self, subscription: SubscriptionId) {
        if !self.backlog.contains_key(&subscription) {
            self.mark(subscription);
        }
    }

    /// The lanes whose work waits, beginning after the one that was served last.
    fn backlog_in_turn(&self) -> Vec<Arc<Endpoint>> {
        let all = (Bound::Unbounded::<SubscriptionId>, Bound::Unbounded);
        let (first, rest) = match self.last_served {
            None => (self.backlog.range(all), None),
            Some(last) => {
                let after = self.backlog.range((Bound::Excluded(last), Bound::Unbounded));
                (after, Some(self.backlog.range(..=last)))
            }
        };
        let in_turn = first.chain(rest.into_iter().flatten());
        in_turn.filter_map(|(id, _)| self.lanes.get(id)).map(|lane| lane.endpoint.clone()).collect()
    }
}

/// Room for one attempt, free again when dropped.
pub struct Slot {
    slots: Slots,
    subscription: SubscriptionId,
    started: bool,
}

impl Slot {
    /// The attempt starts: it counts against the rate from now on.
    pub fn start(&mut self) {
        self.started = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.free(self.subscription, self.started);
    }
}

/// Slots of one subscription for work that is being claimed.
pub struct Reservation {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// One slot for each delivery that may be claimed.
    pub slots: Vec<Slot>,
    /// The mark the subscription had, for [`Slots::clear`].
    pub mark: Option<u64>,
}

#[cfg(test)]
mod tests {
    use messaging::Ladder;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{AckRule, RequestTimeout};

    fn endpoint(n: u128, max_in_flight: u32) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            subscription: SubscriptionId(Uuid::from_u128(n)),
            url: "http://shop.example/".parse().expect("a URL"),
            headers: Vec::new(),
            timeout: RequestTimeout::default(),
            ack: AckRule::Status,
            ladder: Ladder::default(),
            max_in_flight,
            rate_limit: None,
            secrets: Vec::new(),
        })
    }

    fn slots(max: u32) -> Slots {
        Slots::new(max, Arc::default())
    }

    fn take(slots: &Slots, endpoint: &Arc<Endpoint>) -> Vec<Slot> {
        std::iter::from_fn(|| slots.take_fresh(endpoint, DateTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn a_subscription_never_has_more_under_way_than_it_allows() {
        let (slots, endpoint) = (slots(100), endpoint(1, 3));
        let held = take(&slots, &endpoint);
        assert_eq!(held.len(), 3);
        drop(held);
        assert_eq!(take(&slots, &endpoint).len(), 3);
    }

    #[test]
    fn however_many_hang_the_next_one_finds_room_and_the_process_keeps_its_bound() {
        let slots = slots(64);
        let held: Vec<Vec<Slot>> = (1..=6).map(|n| take(&slots, &endpoint(n, 1000))).collect();
        let taken: Vec<usize> = held.iter().map(Vec::len).collect();
        assert_eq!(taken, [32, 16, 8, 4, 2, 1]);
        let all: Vec<Slot> = (7..100).flat_map(|n| take(&slots, &endpoint(n, 1000))).collect();
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn fresh_work_does_not_pass_work_that_waits() {
        let (slots, endpoint) = (slots(10), endpoint(1, 10));
        slots.mark(endpoint.subscription);
        assert!(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH).is_none());
        let reserved = slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64);
        assert_eq!(reserved[0].slots.len(), 5);
        slots.clear(endpoint.subscription, reserved[0].mark);
        drop(reserved);
        assert!(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH).is_some());
    }

    #[test]
    fn work_that_came_while_a_claim_ran_is_not_forgotten() {
        let (slots, endpoint) = (slots(10), endpoint(1, 10));
        slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH);
        slots.mark(endpoint.subscription);
        let reserved = slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64);
        slots.mark(endpoint.subscription);
        slots.clear(endpoint.subscription, reserved[0].mark);
        drop(reserved);
        assert_eq!(slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64).len(), 1);
    }

    #[test]
    fn those_that_wait_take_turns() {
        let slots = slots(2);
        let endpoints: Vec<_> = (1..=3).map(|n| endpoint(n, 1)).collect();
        for endpoint in &endpoints {
            drop(slots.take_fresh(endpoint, DateTime::UNIX_EPOCH));
            slots.mark(endpoint.subscription);
        }
        let mut served: Vec<u128> = Vec::new();
        for _ in 0..3 {
            let reserved = slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 1);
            served.extend(reserved.iter().map(|reservation| reservation.subscription.0.as_u128()));
        }
        assert_eq!(served, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn after_the_close_there_are_no_slots() {
        let (slots, endpoint) = (slots(10), endpoint(1, 10));
        slots.close();
        assert!(take(&slots, &endpoint).is_empty());
    }
}
