//! How endpoints do, and what results make of that, the same in both databases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use super::rows::{StoredTime, count, optional, readable};
use crate::domain::attempt::AttemptResult;
use crate::domain::health::{HealthState, Unwell, is_own_fault};
use crate::domain::probing::{Cause, Probe, Probing};
use crate::domain::{DisableAfter, FailureClass, Health, Outcome, SubscriptionId};

/// How endpoints do. What attempts tell of it is written by [`super::DeliveryStore::record`].
#[async_trait]
pub trait HealthStore: Send + Sync + 'static {
    /// What is held against those of `subscriptions` against which something is.
    async fn health(&self, subscriptions: &[SubscriptionId]) -> StoreResult<HashMap<SubscriptionId, Health>>;

    /// Holds nothing against an endpoint any more.
    async fn forget_health(&self, id: SubscriptionId) -> StoreResult<()>;

    /// How many active subscriptions' endpoints do not do well.
    async fn unwell(&self) -> StoreResult<Unwell>;
}

/// What is held against endpoints, by subscription.
pub(super) type HealthMap = HashMap<SubscriptionId, Health>;

/// The columns of a [`HealthRow`].
macro_rules! health_columns {
    () => {
        "subscription_id, failing_since, failed_at, unreached, probe_at, probe_token, probe_until, pause_answers, \
         failure_class"
    };
}
pub(super) use health_columns;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct HealthRow<Time> {
    subscription_id: Uuid,
    failing_since: Time,
    failed_at: Option<Time>,
    unreached: i64,
    probe_at: Option<Time>,
    probe_token: Option<Uuid>,
    probe_until: Option<Time>,
    pause_answers: Option<i64>,
    failure_class: Option<String>,
}

impl<Time: StoredTime> HealthRow<Time> {
    /// What the row holds against its endpoint; nothing where it is there only to be locked.
    pub(super) fn health(self) -> StoreResult<Option<(SubscriptionId, Health)>> {
        let id = self.subscription_id;
        let health = readable(self.read(), "health of subscription", id)?;
        let blank = health.unreached == 0 && health.failed_at.is_none() && health.probing.is_none();
        Ok((!blank).then_some((SubscriptionId(id), health)))
    }

    fn read(self) -> Option<Health> {
        let until = optional(self.probe_until).ok()?;
        let probe = self.probe_token.zip(until).map(|(token, until)| Probe { token, until });
        let not_before = optional(self.probe_at).ok()?;
        let cause = match self.pause_answers {
            Some(answers) => Cause::ReceiverPause { answers: count(answers)? },
            None => Cause::Unreached,
        };
        Some(Health {
            failing_since: self.failing_since.time()?,
            failed_at: optional(self.failed_at).ok()?,
            unreached: count(self.unreached)?,
            failure_class: match self.failure_class {
                None => None,
                Some(text) => Some(FailureClass::parse(&text)?),
            },
            probing: not_before.map(|not_before| Probing { not_before, probe, cause }),
        })
    }
}

/// The column `pause_answers` of `health`.
pub(super) fn pause_answers(health: &Health) -> Option<i64> {
    match health.probing?.cause {
        Cause::ReceiverPause { answers } => Some(answers.into()),
        Cause::Unreached => None,
    }
}

/// Counts them in both databases: those that are only failing, those that are unreachable, and those
/// whose receiver asked for a pause. A row that holds nothing against its endpoint is not committed.
macro_rules! count_unwell {
    () => {
        "SELECT count(*) FILTER (WHERE h.probe_at IS NULL),
             count(h.probe_at) FILTER (WHERE h.pause_answers IS NULL), count(h.pause_answers)
         FROM subscription_health h JOIN subscriptions s ON s.id = h.subscription_id
         WHERE s.state = 'active' AND s.deleted_at IS NULL"
    };
}
pub(super) use count_unwell;

/// What [`count_unwell`] answers.
pub(super) fn counted((failing, unreachable, paused): (i64, i64, i64)) -> Unwell {
    Unwell {
        failing: failing.unsigned_abs(),
        unreachable: unreachable.unsigned_abs(),
        paused_by_receiver: paused.unsigned_abs(),
    }
}

/// The health that these rows keep.
pub(super) fn read_all<Time: StoredTime>(rows: Vec<HealthRow<Time>>) -> StoreResult<HealthMap> {
    rows.into_iter().filter_map(|row| row.health().transpose()).collect()
}

/// What a group of results makes of one endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) before: Option<Health>,
    pub(super) after: Option<Health>,
}

/// What `counted` results, in their order, make of what was held `before`.
pub(super) fn changes(before: &HealthMap, counted: &[&AttemptResult]) -> BTreeMap<SubscriptionId, Change> {
    let mut changes = BTreeMap::new();
    for result in counted {
        let before = before.get(&result.subscription).copied();
        let change = changes.entry(result.subscription).or_insert(Change { before, after: before });
        change.after = Health::after(change.after, result);
    }
    changes
}

/// The subscriptions of the results that did not deliver.
pub(super) fn failed<'a>(results: impl IntoIterator<Item = &'a AttemptResult>) -> BTreeSet<SubscriptionId> {
    let failed = results.into_iter().filter(|result| result.attempt.outcome != Outcome::Delivered);
    failed.map(|result| result.subscription).collect()
}

/// Those of `counted` by which a subscription is disabled at `now` since its endpoint has failed for
/// too long, each with the reason.
pub(super) fn overdue<'a>(
    changes: &BTreeMap<SubscriptionId, Change>,
    counted: &[&'a AttemptResult],
    disable_after: DisableAfter,
    now: DateTime<Utc>,
) -> Vec<(&'a AttemptResult, String)> {
    let own = counted.iter().copied().filter(|result| is_own_fault(result.attempt.outcome));
    let overdue = own.filter_map(|result| {
        let health = changes.get(&result.subscription)?.after.as_ref()?;
        Some((result, disable_after.reason(health, now)?))
    });
    overdue.collect()
}

/// Logs whose endpoint is lost or found again, or asked for a pause, once it is committed. A pause is a
/// matter of seconds and can come again and again, so it is no warning.
pub(super) fn log(changes: &BTreeMap<SubscriptionId, Change>) {
    for (subscription, Change { before, after }) in changes {
        let (was, is) = (Health::state(before.as_ref()), Health::state(after.as_ref()));
        if let (HealthState::PausedByReceiver, Some(probing)) = (is, after.and_then(|health| health.probing))
        {
            let until = probing.not_before;
            tracing::debug!(subscription.id = %subscription, %until, "subscription.paused_by_receiver");
        }
        match (was == HealthState::Unreachable, is == HealthState::Unreachable) {
            (false, true) => {
                tracing::warn!(subscription.id = %subscription, "subscription.unreachable");
            }
            (true, false) => {
                tracing::info!(subscription.id = %subscription, "subscription.reached_again");
            }
            _ => {}
        }
    }
}
