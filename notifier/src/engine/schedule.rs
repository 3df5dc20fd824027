//! When the database is to be asked for due work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

/// The time of the next look for due work. Clones share it.
#[derive(Clone)]
pub struct Schedule {
    next: Arc<Mutex<DateTime<Utc>>>,
    wake: Arc<Notify>,
}

impl Schedule {
    /// Work is looked for at once. `wake` rings when that time is brought forward.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { next: Arc::new(Mutex::new(DateTime::UNIX_EPOCH)), wake }
    }

    /// Work may be due now: someone resent, resumed or changed something.
    pub fn look_now(&self) {
        self.look_at(DateTime::UNIX_EPOCH);
    }

    /// Work becomes due at `time`.
    pub fn look_at(&self, time: DateTime<Utc>) {
        let mut next = self.lock();
        if time < *next {
            *next = time;
            self.wake.notify_one();
        }
    }

    /// Whether it is time at `now`. If so, the next look is at `latest` unless it is brought forward.
    pub fn begin(&self, now: DateTime<Utc>, latest: DateTime<Utc>) -> bool {
        let mut next = self.lock();
        let due = *next <= now;
        if due {
            *next = latest;
        }
        due
    }

    /// The time of the next look.
    pub fn next(&self) -> DateTime<Utc> {
        *self.lock()
    }

    /// The bell that wakes the dispatcher.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn lock(&self) -> MutexGuard<'_, DateTime<Utc>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
