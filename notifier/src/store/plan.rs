//! Which notifications a batch of fresh events makes, decided before anything is written.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Admission, Ingested};
use crate::domain::day::is_prompt;
use crate::domain::{Day, Delivery, Directory, Endpoint, Lease, NewEvent, NotificationId};

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

/// One notification per event and subscription that is to hear of it; those of active
/// subscriptions that `admission` has room for under the lease `token`.
pub(super) fn plan<'a>(
    events: &[&'a NewEvent],
    directory: &Directory,
    admission: &mut dyn Admission,
    token: Uuid,
    now: DateTime<Utc>,
) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for &event in events {
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

/// Whose fresh notifications are handed out at once, as far as is decided yet.
pub(super) fn handed_out_to(planned: &[Planned<'_>]) -> BTreeSet<Uuid> {
    let handed_out = planned.iter().filter(|one| one.lease.is_some());
    handed_out.map(|one| one.endpoint.subscription.0).collect()
}

/// Hands nothing out to those that are `unreachable` or paused by their receiver: what is fresh waits for
/// a probe like the rest.
pub(super) fn withhold(planned: &mut [Planned<'_>], unreachable: &HashSet<Uuid>) {
    for one in planned {
        one.lease = one.lease.filter(|_| !unreachable.contains(&one.endpoint.subscription.0));
    }
}

/// What was `planned` has caused, where the events in `fresh` were kept.
pub(super) fn caused(planned: &[Planned<'_>], fresh: &HashSet<Uuid>) -> Ingested {
    let made = || planned.iter().filter(|one| fresh.contains(&one.event.key.0));
    Ingested {
        events: fresh.len(),
        notifications: made().count(),
        deliveries: made().filter_map(Planned::delivery).collect(),
        waiting: made().filter(|one| one.waits()).count(),
        fresh: Vec::new(),
        refused: Vec::new(),
    }
}

/// How far ahead it is written down that events of a day come in late.
pub(super) const ARRIVALS_AHEAD: TimeDelta = TimeDelta::minutes(1);

/// The keys of the events that come in at another time than their own.
pub(super) fn odd(events: &[&NewEvent], now: DateTime<Utc>) -> Vec<Uuid> {
    events.iter().map(|event| event.key.0).filter(|key| !is_prompt(*key, now)).collect()
}

/// The days of these keys, each once and in order.
pub(super) fn days(keys: impl Iterator<Item = Uuid>) -> BTreeSet<Day> {
    keys.map(Day::of_id).collect()
}
