//! Which notifications a batch of fresh events makes, decided before anything is written.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Admission, Ingested};
use crate::domain::{Delivery, Directory, Endpoint, Lease, NewEvent, NotificationId};

/// A notification about to be written.
pub(super) struct Planned<'a> {
    pub(super) id: NotificationId,
    pub(super) event: &'a NewEvent,
    pub(super) endpoint: Arc<Endpoint>,
    /// Whether its subscription is active.
    active: bool,
    /// Where it is handed out at once.
    pub(super) lease: Option<Lease>,
}

impl Planned<'_> {
    /// Whether it must be claimed to go out.
    fn waits(&self) -> bool {
        self.active && self.lease.is_none()
    }

    /// The delivery that its lease stands for.
    fn delivery(&self) -> Option<Delivery> {
        self.lease.map(|lease| Delivery {
            notification: self.id,
            number: 1,
            climb: 0,
            message: self.event.message(),
            endpoint: self.endpoint.clone(),
            lease,
        })
    }
}

/// Each event once, in the order of keys: batches that overlap then wait for each other instead of
/// deadlocking.
pub(super) fn in_order(events: &[NewEvent]) -> Vec<&NewEvent> {
    let mut seen = HashSet::new();
    let mut ordered: Vec<_> = events.iter().filter(|event| seen.insert(event.key)).collect();
    ordered.sort_by_key(|event| event.key);
    ordered
}

/// One notification per fresh event and subscription that is to hear of it; those of active
/// subscriptions that `admission` has room for under the lease `token`.
pub(super) fn plan<'a>(
    fresh: impl IntoIterator<Item = &'a NewEvent>,
    directory: &Directory,
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for event in fresh {
        for entry in directory.matching(event) {
            let endpoint = entry.endpoint.clone();
            let admitted = entry.active && admission.admit(&endpoint);
            planned.push(Planned {
                id: NotificationId::of(event.key, endpoint.subscription),
                event,
                active: entry.active,
                lease: admitted.then(|| Lease::grant(token, now, endpoint.timeout)),
                endpoint,
            });
        }
    }
    planned
}

/// What a batch caused that made `planned` of `events` fresh events.
pub(super) fn ingested(events: usize, planned: &[Planned<'_>]) -> Ingested {
    Ingested {
        events,
        notifications: planned.len(),
        deliveries: planned.iter().filter_map(Planned::delivery).collect(),
        waiting: planned.iter().filter(|one| one.waits()).count(),
    }
}
