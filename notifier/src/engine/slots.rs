//! Who may start an attempt now: the process's bound, each subscription's bound, width and rate, and
//! a fair share for everybody (law 7).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::domain::{Directory, Endpoint, Exchange, SubscriptionId};

use super::room::Room;

/// The room for attempts in this process. Clones share it.
#[derive(Clone)]
pub struct Slots {
    room: Arc<Mutex<Room>>,
    wake: Arc<Notify>,
}

impl Slots {
    /// Room for `max` attempts at once. `wake` rings when an attempt has ended while work waits.
    pub fn new(max: u32, wake: Arc<Notify>) -> Self {
        Self { room: Arc::new(Mutex::new(Room::new(max))), wake }
    }

    /// Gives out no more slots.
    pub fn close(&self) {
        self.lock().close();
    }

    /// A slot for a fresh delivery to `endpoint`. None while work of it waits: what is fresh then waits
    /// as well, and claims share the lane between that and retries.
    pub fn take_fresh(&self, endpoint: &Arc<Endpoint>, now: DateTime<Utc>) -> Option<Slot> {
        let mut room = self.lock();
        let older_waits = room.mark_of(endpoint.subscription).is_some();
        let taken = room.take(endpoint, now, u32::from(!older_waits));
        drop(room);
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
        let mut room = self.lock();
        let mut taken = Vec::new();
        for endpoint in endpoints {
            let subscription = endpoint.subscription;
            match room.take(endpoint, now, each) {
                0 => room.mark_if_unmarked(subscription),
                count => {
                    let retries_first = room.serve(subscription, count);
                    taken.push((subscription, count, retries_first, room.mark_of(subscription)));
                }
            }
        }
        drop(room);
        let reservation = |(subscription, count, retries_first, mark)| Reservation {
            subscription,
            slots: (0..count).map(|_| self.slot(subscription)).collect(),
            retries_first,
            mark,
        };
        taken.into_iter().map(reservation).collect()
    }

    /// Whether it makes a difference to know that work of `endpoint` is due: there is room for it, or
    /// it is not marked. A lane that fresh events keep full must be, or retries never get their turn.
    pub fn is_to_be_asked_for(&self, endpoint: &Endpoint, now: DateTime<Utc>) -> bool {
        let room = self.lock();
        room.mark_of(endpoint.subscription).is_none() || room.has_room(endpoint, now)
    }

    /// Remembers that work of `subscription` waits in the database.
    pub fn mark(&self, subscription: SubscriptionId) {
        self.lock().mark(subscription);
    }

    /// Forgets that work waits, unless it was marked anew after `mark`.
    pub fn clear(&self, subscription: SubscriptionId, mark: Option<u64>) {
        self.lock().clear(subscription, mark);
    }

    /// When the first lane whose work waits for nothing but its rate may go on.
    pub fn next_token_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.lock().next_token_at(now)
    }

    /// Follows changes of the subscriptions.
    pub fn follow(&self, directory: &Directory) {
        self.lock().follow(directory);
    }

    fn slot(&self, subscription: SubscriptionId) -> Slot {
        Slot { slots: self.clone(), subscription, phase: Phase::Unused }
    }

    fn free(&self, slot: &Slot) {
        let mut room = self.lock();
        match slot.phase {
            // Who returns slots unused looks for work again by itself.
            Phase::Unused => return room.give_back(slot.subscription),
            Phase::Sending => room.drop_request(slot.subscription),
            Phase::Ended => room.written(),
        }
        self.wake_for(&room);
    }

    /// There is room again: rings if work waits for it.
    fn wake_for(&self, room: &Room) {
        if room.has_backlog() {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unused,
    Sending,
    Ended,
}

/// Room for one attempt: in its lane until the request ends, in the process until this is dropped.
pub struct Slot {
    slots: Slots,
    subscription: SubscriptionId,
    phase: Phase,
}

impl Slot {
    /// The request goes out: it counts against the rate from now on.
    pub fn start(&mut self, now: DateTime<Utc>) {
        self.phase = Phase::Sending;
        self.slots.lock().start(self.subscription, now);
    }

    /// The request has ended: the next one of its lane may begin. Its result is still to be written.
    pub fn end(&mut self, exchange: &Exchange, now: DateTime<Utc>) {
        self.phase = Phase::Ended;
        let mut room = self.slots.lock();
        room.end(self.subscription, exchange, now);
        self.slots.wake_for(&room);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.free(self);
    }
}

/// Slots of one subscription for work that is being claimed.
pub struct Reservation {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// One slot for each delivery that may be claimed.
    pub slots: Vec<Slot>,
    /// Whether retries have the odd one of them.
    pub retries_first: bool,
    /// The mark the subscription had, for [`Slots::clear`].
    pub mark: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{endpoint, exchange};

    fn slots(max: u32) -> Slots {
        Slots::new(max, Arc::default())
    }

    fn take(slots: &Slots, endpoint: &Arc<Endpoint>) -> Vec<Slot> {
        std::iter::from_fn(|| slots.take_fresh(endpoint, DateTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn fresh_work_does_not_pass_work_that_waits() {
        let (slots, endpoint) = (slots(20), endpoint(1, 10));
        drop(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH));
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
        let slots = slots(4);
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
    fn a_slot_is_free_again_when_it_is_dropped_in_whatever_phase() {
        let (slots, endpoint) = (slots(100), endpoint(1, 3));
        for phase in 0..3 {
            let mut held = take(&slots, &endpoint);
            assert_eq!(held.len(), 3);
            if phase > 0 {
                for slot in &mut held {
                    slot.start(DateTime::UNIX_EPOCH);
                }
            }
            if phase > 1 {
                for slot in &mut held {
                    slot.end(&exchange(5, None), DateTime::UNIX_EPOCH);
                }
            }
        }
    }

    #[test]
    fn a_lane_has_room_again_when_its_request_ends_and_the_process_when_the_result_is_written() {
        let (slots, endpoint) = (slots(8), endpoint(1, 3));
        let mut unwritten = Vec::new();
        loop {
            let mut sent = take(&slots, &endpoint);
            if sent.is_empty() {
                break;
            }
            for slot in &mut sent {
                slot.start(DateTime::UNIX_EPOCH);
                slot.end(&exchange(5, None), DateTime::UNIX_EPOCH);
            }
            unwritten.extend(sent);
        }
        assert_eq!(unwritten.len(), 8);
        unwritten.pop();
        assert_eq!(take(&slots, &endpoint).len(), 1);
    }

    #[test]
    fn after_the_close_there_are_no_slots() {
        let (slots, endpoint) = (slots(10), endpoint(1, 10));
        slots.close();
        assert!(take(&slots, &endpoint).is_empty());
    }
}
