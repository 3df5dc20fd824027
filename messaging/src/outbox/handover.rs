//! Rows that go straight from the commit that wrote them to the relay of the same process. They are
//! written under that relay's lease, so nothing has to claim and read them back; should the process
//! die, the lease ends and any relay finds them in the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::event::Event;

/// How many handed rows may wait for the relay; what is written beyond goes the long way.
const ROOM: usize = 2_000;

/// The lease that rows are written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLease {
    /// Whose it is.
    pub token: Uuid,
    /// When it ends.
    pub until: DateTime<Utc>,
}

/// The writers' side: tells the relay of this process what was committed. Clones share it.
#[derive(Debug, Clone)]
pub struct Handover {
    token: Uuid,
    lease: TimeDelta,
    room: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<Handed>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Rows that nobody has a lease on were written since the relay looked last.
    rows_wait: AtomicBool,
    wake: Arc<Notify>,
}

/// What was committed under one lease.
#[derive(Debug)]
pub(super) struct Handed {
    pub lease: RowLease,
    pub events: Vec<Event>,
    /// Room among what waits for the relay, free again when the relay is done with it.
    pub room: OwnedSemaphorePermit,
}

/// The relay's side.
pub(super) struct Inbox {
    pub token: Uuid,
    queue: mpsc::UnboundedReceiver<Handed>,
    shared: Arc<Shared>,
}

/// Both sides. Rows are written under `token` for as long as `lease`; `wake` rings the relay.
pub(super) fn pair(token: Uuid, lease: Duration, wake: Arc<Notify>) -> (Handover, Inbox) {
    // Bounded by `room`.
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared { rows_wait: AtomicBool::new(true), wake });
    let handover = Handover {
        token,
        lease: TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX),
        room: Arc::new(Semaphore::new(ROOM)),
        queue: sender,
        shared: shared.clone(),
    };
    (handover, Inbox { token, queue: receiver, shared })
}

impl Handover {
    /// Room for `count` rows that are to be written at `now`; `None` when the relay is behind.
    pub fn reserve(&self, count: usize, now: DateTime<Utc>) -> Option<Reserved> {
        let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
        let room = self.room.clone().try_acquire_many_owned(count).ok()?;
        let lease = RowLease { token: self.token, until: now + self.lease };
        Some(Reserved { lease, room, handover: self.clone() })
    }

    /// Rows without a lease were committed: the relay looks for them.
    pub fn ring(&self) {
        self.shared.rows_wait.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

/// Room for what is about to be committed. Dropped unused, the rows wait for their lease to end.
#[derive(Debug)]
pub struct Reserved {
    /// What the rows are to be written under.
    pub lease: RowLease,
    room: OwnedSemaphorePermit,
    handover: Handover,
}

impl Reserved {
    /// `events` were committed under the lease, and nothing else was.
    pub fn hand_over(self, events: Vec<Event>) {
        let Self { lease, room, handover } = self;
        if events.is_empty() {
            return;
        }
        // Without a relay the process is ending, and the lease with it.
        let _ = handover.queue.send(Handed { lease, events, room });
        handover.shared.wake.notify_one();
    }
}

impl Inbox {
    /// What was handed over, whole batches, as many as bring at least `enough` events.
    pub fn take(&mut self, enough: usize) -> Vec<Handed> {
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < enough {
            let Ok(handed) = self.queue.try_recv() else { break };
            count += handed.events.len();
            taken.push(handed);
        }
        taken
    }

    /// Whether more was handed over.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Waits until more was handed over, or rows wait.
    pub async fn more(&self) {
        while self.is_empty() && !self.shared.rows_wait.load(Ordering::Acquire) {
            self.shared.wake.notified().await;
        }
    }

    /// Whether rows without a lease are known to wait; forgets that.
    pub fn rows_wait(&self) -> bool {
        self.shared.rows_wait.swap(false, Ordering::AcqRel)
    }

    /// Remembers that rows wait.
    pub fn expect_rows(&self) {
        self.shared.rows_wait.store(true, Ordering::Release);
    }
}
