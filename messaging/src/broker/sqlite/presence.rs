//! Which consumers of this process live, and the task that keeps them seen in the file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use runtime::problem::Chain;
use runtime::recurring::Recurring;
use uuid::Uuid;

use super::store::{SEEN_EVERY, Store};

/// The living consumers of this process, with how many messages each holds.
#[derive(Clone)]
pub(super) struct Presence {
    seats: Arc<Seats>,
}

type Seats = Mutex<HashMap<Uuid, usize>>;

/// One consumer's place among the living, until it is dropped.
pub(super) struct Seat {
    pub id: Uuid,
    seats: Arc<Seats>,
}

impl Presence {
    /// Nobody yet. The task ends after the last of this and its seats is dropped.
    pub(super) fn spawn(store: Store) -> Self {
        let seats = Arc::<Seats>::default();
        tokio::spawn(keep_seen(store, Arc::downgrade(&seats)));
        Self { seats }
    }

    pub(super) fn take_seat(&self, id: Uuid) -> Seat {
        lock(&self.seats).insert(id, 0);
        Seat { id, seats: self.seats.clone() }
    }
}

impl Seat {
    /// Says how many messages this consumer holds now.
    pub(super) fn hold(&self, messages: usize) {
        lock(&self.seats).insert(self.id, messages);
    }

    /// Every consumer of this process that holds messages.
    pub(super) fn living(&self) -> Vec<Uuid> {
        holding(&self.seats)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.seats).remove(&self.id);
    }
}

fn lock(seats: &Seats) -> std::sync::MutexGuard<'_, HashMap<Uuid, usize>> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

fn holding(seats: &Seats) -> Vec<Uuid> {
    lock(seats).iter().filter(|(_, messages)| **messages > 0).map(|(id, _)| *id).collect()
}

/// Consumers that hold nothing need not be seen, so an idle process writes nothing.
async fn keep_seen(store: Store, seats: Weak<Seats>) {
    let failures = Recurring::new();
    loop {
        tokio::time::sleep(SEEN_EVERY).await;
        let Some(living) = seats.upgrade().map(|seats| holding(&seats)) else { return };
        if living.is_empty() {
            continue;
        }
        if let Err(error) = store.see(&living).await
            && let Some(times) = failures.note(&Chain(&error))
        {
            tracing::warn!(error = %Chain(&error), times, "broker.presence_failed");
        }
    }
}
