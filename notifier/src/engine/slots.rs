//! Who may start an attempt now: the process's bound, each subscription's bound, width and rate, and
//! a fair share for everybody (law 7).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::domain::{Directory, Endpoint, Exchange, Outcome, SubscriptionId, WaitsFor};

use super::queue::Turn;
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

    /// A slot for a fresh delivery to `endpoint`, or a place behind its slots. None while work of it
    /// waits in the database: what is fresh then waits as well, and claims share the lane between that
    /// and retries.
    pub fn take_fresh(&self, endpoint: &Arc<Endpoint>, now: DateTime<Utc>) -> Option<Slot> {
        let mut room = self.lock();
        let older_waits = room.mark_of(endpoint.subscription).is_some();
        let phase = if room.take(endpoint, now, u32::from(!older_waits)) == 1 {
            Phase::Unused
        } else {
            Phase::Waiting(room.join(endpoint, now, u32::from(!older_waits)).pop()?)
        };
        drop(room);
        Some(self.slot(endpoint.subscription, phase, now))
    }

    /// Slots for work that is known to wait, for every lane with room, `each` at the most.
    pub fn reserve_for_backlog(&self, now: DateTime<Utc>, each: u32) -> Vec<Reservation> {
        let endpoints = self.lock().backlog_in_turn(now);
        self.reserve(endpoints.iter(), now, each)
    }

    /// Slots for each of `endpoints` as far as there is room, and places behind them, `each` at the most.
    /// Those for which there is none are marked, so that their turn comes when there is.
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
            let now_free = room.take(endpoint, now, each);
            let turns = room.join(endpoint, now, each - now_free);
            let count = now_free + u32::try_from(turns.len()).unwrap_or_default();
            if count == 0 {
                room.mark_if_unmarked(subscription);
                continue;
            }
            let phases = (0..now_free).map(|_| Phase::Unused).chain(turns.into_iter().map(Phase::Waiting));
            taken.push(Reservation {
                subscription,
                slots: phases.map(|phase| self.slot(subscription, phase, now)).collect(),
                retries_first: room.serve(subscription, count),
                mark: room.mark_of(subscription),
            });
        }
        taken
    }

    /// Calls those who wait in memory for slots where there are some, and lets those go whose endpoint
    /// fails or hangs.
    pub fn settle(&self, now: DateTime<Utc>) {
        self.lock().settle(now);
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

    /// `subscription` may be sent to again, whatever its receiver asked for.
    pub fn forget_pause(&self, subscription: SubscriptionId) {
        self.lock().forget_pause(subscription);
    }

    /// Follows changes of the subscriptions.
    pub fn follow(&self, directory: &Directory) {
        self.lock().follow(directory);
    }

    fn slot(&self, subscription: SubscriptionId, phase: Phase, now: DateTime<Utc>) -> Slot {
        Slot { slots: self.clone(), subscription, phase, now }
    }

    fn free(&self, subscription: SubscriptionId, phase: Phase, now: DateTime<Utc>) {
        let mut room = self.lock();
        match phase {
            // Who returns slots unused looks for work again by itself.
            Phase::Unused => return room.give_back(subscription, now),
            Phase::Waiting(turn) => return leave_queue(&mut room, subscription, turn, now),
            Phase::Left => return,
            Phase::Sending => room.drop_request(subscription, now),
            Phase::Ended { outcome, asks_for_pause, is_stored } => {
                if asks_for_pause {
                    room.pause_written(subscription, is_stored, now);
                }
                room.written(subscription, outcome, now);
            }
        }
        if room.has_unsupplied() {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What holds attempts back in this process. Clones tell of the same one.
#[derive(Clone)]
pub struct Bounds(pub(super) Slots);

impl Bounds {
    /// What an attempt of `subscription` that is due waits for, where its subscription's bounds or the
    /// process's keep it from beginning.
    pub fn holding_back(&self, subscription: SubscriptionId, now: DateTime<Utc>) -> Option<WaitsFor> {
        self.0.lock().holding_back(subscription, now)
    }
}

/// Leaves a queue, unless it has been one's turn: then there is a slot to give back. Turns come under the
/// room's lock, so this can't change meanwhile.
fn leave_queue(room: &mut Room, subscription: SubscriptionId, mut turn: Turn, now: DateTime<Utc>) {
    turn.close();
    match turn.try_recv() {
        Ok(()) => room.give_back(subscription, now),
        Err(_) => room.forget_gone(subscription),
    }
}

enum Phase {
    /// There is no slot yet.
    Waiting(Turn),
    Unused,
    Sending,
    Ended {
        outcome: Outcome,
        asks_for_pause: bool,
        is_stored: bool,
    },
    /// There never was a slot, nor will there be.
    Left,
}

/// Room for one attempt: in its lane until the request ends, or a failure is written; in the process until
/// this is dropped.
pub struct Slot {
    slots: Slots,
    subscription: SubscriptionId,
    phase: Phase,
    /// The time of the last change.
    now: DateTime<Utc>,
}

impl Slot {
    /// Waits for its turn. Whether that has come; else the attempt is not to be made, and its lease is to
    /// be given back.
    pub async fn ready(&mut self) -> bool {
        let Phase::Waiting(turn) = &mut self.phase else { return true };
        let has_come = turn.await.is_ok();
        self.phase = if has_come { Phase::Unused } else { Phase::Left };
        has_come
    }

    /// The request goes out: it counts against the rate from now on. Whether it does: not when the receiver
    /// has just asked for a pause; then the lease is to be given back.
    pub fn start(&mut self, now: DateTime<Utc>) -> bool {
        let starts = self.slots.lock().start(self.subscription, now);
        if starts {
            (self.phase, self.now) = (Phase::Sending, now);
        }
        starts
    }

    /// The request has ended: the next one of its lane may begin, if this one was acknowledged. Its result is
    /// still to be written.
    pub fn end(&mut self, exchange: &Exchange, now: DateTime<Utc>) {
        let asks_for_pause = exchange.asks_for_pause();
        let ended = Phase::Ended { outcome: exchange.outcome, asks_for_pause, is_stored: false };
        (self.phase, self.now) = (ended, now);
        let mut room = self.slots.lock();
        room.end(self.subscription, exchange, now);
        if room.is_to_be_claimed(self.subscription, now) {
            self.slots.wake.notify_one();
        }
    }

    /// The result is in the store, which keeps the pause that it may ask for from `now` on.
    pub fn stored(&mut self, now: DateTime<Utc>) {
        if let Phase::Ended { is_stored, .. } = &mut self.phase {
            (*is_stored, self.now) = (true, now);
        }
    }

    /// The lease was given back: the work waits in the database again.
    pub fn given_back(self) {
        self.slots.mark(self.subscription);
        self.slots.wake.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Left);
        self.slots.free(self.subscription, phase, self.now);
    }
}

/// Slots of one subscription for work that is being claimed.
pub struct Reservation {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// One slot, or a place in the queue for one, for each delivery that may be claimed.
    pub slots: VecDeque<Slot>,
    /// Whether retries have the odd one of them.
    pub retries_first: bool,
    /// The mark the subscription had, for [`Slots::clear`].
    pub mark: Option<u64>,
}

#[cfg(test)]
mod tests;
