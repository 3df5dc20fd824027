//! How much waits, measured once for all processes, and what operators are told of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use messaging::outbox::OutboxStore;
use runtime::database::StoreResult;
use uuid::Uuid;

use super::rows::{StoredTime, optional, readable};
use crate::domain::backlog::{Backlog, Extent, Limits, Remembered, Waiting};
use crate::domain::operator_event::Concerned;
use crate::domain::{OperatorEvent, SubscriptionId};

/// How often what waits is measured at the most.
const PERIOD: Duration = Duration::from_secs(15);
/// So many times as long as a measurement took nobody measures again: counting a million takes most
/// of a second.
const REST: u32 = 50;
/// How long a measurement may take before another process tries.
pub(super) const TURN: TimeDelta = TimeDelta::minutes(5);

/// How much waits, and the outbox of what operators are told.
#[async_trait]
pub trait BacklogStore: Send + Sync + 'static {
    /// Measures what waits for each subscription, unless somebody has done so lately or is at it;
    /// tells operators what grows beyond `limits` (law 1). `token` must be new for every call.
    /// Whether it was measured.
    async fn measure_backlog(&self, limits: &Limits, token: Uuid, now: DateTime<Utc>) -> StoreResult<bool>;

    /// What waits, as it was measured last.
    async fn waiting(&self) -> StoreResult<Waiting>;

    /// Where what operators are told waits to be published.
    fn outbox(&self) -> Arc<dyn OutboxStore>;
}

/// When the next measurement is due after one that `took` so long.
pub(super) fn next_at(now: DateTime<Utc>, took: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(PERIOD.max(took * REST)).unwrap_or(TURN)
}

/// A line of a measurement.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct MeasuredRow<Time> {
    subscription_id: Uuid,
    name: String,
    merchant: Option<String>,
    waiting: i64,
    delivering: i64,
    oldest_at: Time,
    due_at: Option<Time>,
}

/// What is remembered of a subscription's backlog; without id: of all together.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RememberedRow {
    pub(super) subscription_id: Option<Uuid>,
    waiting: i64,
    announced: bool,
}

impl RememberedRow {
    fn remembered(&self) -> Remembered {
        Remembered { waiting: self.waiting.unsigned_abs(), announced: self.announced }
    }
}

/// What is written after a measurement.
pub(super) struct Decided {
    /// What waits for each subscription, and whether operators know.
    pub(super) each: Vec<(Backlog, bool)>,
    /// The same for all together.
    pub(super) total: Remembered,
    /// What operators are told now.
    pub(super) told: Vec<OperatorEvent>,
}

/// Decides what follows from `measured`, given what is remembered.
pub(super) fn decide<Time: StoredTime>(
    measured: Vec<MeasuredRow<Time>>,
    remembered: &[RememberedRow],
    limits: &Limits,
    now: DateTime<Utc>,
) -> StoreResult<Decided> {
    let before: HashMap<Option<Uuid>, Remembered> =
        remembered.iter().map(|row| (row.subscription_id, row.remembered())).collect();
    let before = |id: Option<Uuid>| before.get(&id).copied().unwrap_or_default();
    let (mut each, mut told) = (Vec::with_capacity(measured.len()), Vec::new());
    for row in measured {
        let id = row.subscription_id;
        let (backlog, concerned) = readable(row.read(), "backlog", id)?;
        let (earlier, after) = (before(Some(id)), before(Some(id)).after(backlog.extent(now), limits.each));
        if after.announced && !earlier.announced {
            told.push(growing(Some(concerned), after.waiting, Some(backlog.oldest_at)));
        }
        each.push((backlog, after.announced));
    }
    let waiting = each.iter().map(|(backlog, _)| backlog.waiting).sum();
    let (extent, limit) =
        (Extent { waiting, age: TimeDelta::zero() }, Extent { waiting: limits.total, age: TimeDelta::MAX });
    let total = before(None).after(extent, limit);
    if total.announced && !before(None).announced {
        told.push(growing(None, waiting, each.iter().map(|(backlog, _)| backlog.oldest_at).min()));
    }
    Ok(Decided { each, total, told })
}

fn growing(subscription: Option<Concerned>, waiting: u64, oldest_at: Option<DateTime<Utc>>) -> OperatorEvent {
    OperatorEvent::BacklogGrowing { subscription, waiting, oldest_at }
}

impl<Time: StoredTime> MeasuredRow<Time> {
    fn read(self) -> Option<(Backlog, Concerned)> {
        let id = SubscriptionId(self.subscription_id);
        let backlog = Backlog {
            subscription: id,
            waiting: self.waiting.try_into().ok()?,
            delivering: self.delivering.try_into().ok()?,
            oldest_at: self.oldest_at.time()?,
            due_at: optional(self.due_at).ok()?,
        };
        Some((backlog, Concerned { id, name: self.name, merchant: self.merchant }))
    }
}

/// A count as the databases keep it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What the statement that sums the measurement up answers.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct WaitingRow<Time> {
    measured_at: Option<Time>,
    pending: i64,
    delivering: i64,
    held: i64,
    oldest_pending_at: Option<Time>,
    oldest_held_at: Option<Time>,
    due_at: Option<Time>,
}

impl<Time: StoredTime> WaitingRow<Time> {
    pub(super) fn waiting(self) -> StoreResult<Waiting> {
        readable(self.read(), "measurement of", "what waits")
    }

    fn read(self) -> Option<Waiting> {
        Some(Waiting {
            measured_at: optional(self.measured_at).ok()?,
            pending: self.pending.try_into().ok()?,
            delivering: self.delivering.try_into().ok()?,
            held: self.held.try_into().ok()?,
            oldest_pending_at: optional(self.oldest_pending_at).ok()?,
            oldest_held_at: optional(self.oldest_held_at).ok()?,
            due_at: optional(self.due_at).ok()?,
        })
    }
}

/// Sums the measurement up by what the subscriptions' states are now, in both databases. An attempt
/// under way counts as such whatever its subscription's state. What waits behind a probe is not late.
macro_rules! select_waiting {
    () => {
        "SELECT m.measured_at,
             CAST(coalesce(sum(b.waiting - b.delivering) FILTER (WHERE s.state = 'active'), 0) AS bigint) AS pending,
             CAST(coalesce(sum(b.delivering), 0) AS bigint) AS delivering,
             CAST(coalesce(sum(b.waiting - b.delivering) FILTER (WHERE s.state <> 'active'), 0) AS bigint) AS held,
             min(b.oldest_at) FILTER (WHERE s.state = 'active') AS oldest_pending_at,
             min(b.oldest_at) FILTER (WHERE s.state <> 'active') AS oldest_held_at,
             min(b.due_at) FILTER (WHERE s.state = 'active' AND h.probe_at IS NULL) AS due_at
         FROM backlog_measurement m
         LEFT JOIN (backlogs b JOIN subscriptions s ON s.id = b.subscription_id AND s.deleted_at IS NULL
             LEFT JOIN subscription_health h ON h.subscription_id = b.subscription_id) ON true
         GROUP BY m.measured_at"
    };
}
pub(super) use select_waiting;
