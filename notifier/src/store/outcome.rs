//! What a result writes, the same in both databases.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use messaging::EventKey;
use uuid::Uuid;

use super::Recorded;
use crate::domain::attempt::{AttemptResult, FailureClass, Verdict};
use crate::domain::operator_event::Concerned;
use crate::domain::{Attempt, OperatorEvent, SubscriptionAudit, SubscriptionId};

/// Why a subscription is disabled by [`Verdict::Gone`].
const GONE_REASON: &str = "the endpoint answered 410 Gone";

/// What a verdict makes of a notification.
pub(super) struct Written {
    /// The final state; `None` while it goes on waiting.
    pub(super) state: Option<&'static str>,
    pub(super) due_at: DateTime<Utc>,
    /// Steps climbed on the ladder: one for a failure.
    pub(super) climbed: i64,
}

impl Written {
    pub(super) fn of(verdict: Verdict, now: DateTime<Utc>) -> Self {
        let (state, due_at, climbed) = match verdict {
            Verdict::Delivered => (Some("delivered"), now, 0),
            Verdict::RetryAt(at) => (None, at, 1),
            Verdict::Exhausted => (Some("exhausted"), now, 1),
            Verdict::Gone => (None, now, 0),
        };
        Self { state, due_at, climbed }
    }
}

/// Why an attempt failed, as both tables keep it.
pub(super) fn class(attempt: &Attempt) -> Option<&'static str> {
    attempt.outcome.failure_class().map(FailureClass::as_str)
}

/// Whether this result's lease is among those `held` (notification and token).
pub(super) fn holds(held: &HashSet<(Uuid, Uuid)>, result: &AttemptResult) -> bool {
    held.contains(&(result.notification.0, result.lease.token()))
}

/// One answer per result.
pub(super) fn answers(held: &HashSet<(Uuid, Uuid)>, results: &[AttemptResult]) -> Vec<Recorded> {
    let answer = |result| if holds(held, result) { Recorded::Counted } else { Recorded::Late };
    results.iter().map(answer).collect()
}

/// A subscription that counted results disable.
#[derive(Debug)]
pub(super) struct Disabling<'a> {
    pub(super) subscription: SubscriptionId,
    /// When the attempt began: what has been changed since then was not what failed, so it is not
    /// disabled.
    pub(super) seen: DateTime<Utc>,
    /// Why, for people.
    pub(super) reason: String,
    result: &'a AttemptResult,
}

/// Whom `counted` results disable, each once: those that answered 410, and those that are `overdue`.
pub(super) fn disabling<'a>(
    counted: &[&'a AttemptResult],
    overdue: Vec<(&'a AttemptResult, String)>,
) -> Vec<Disabling<'a>> {
    let gone = counted.iter().filter(|result| result.verdict == Verdict::Gone);
    let gone = gone.map(|result| (*result, GONE_REASON.to_owned()));
    let mut all: BTreeMap<SubscriptionId, Disabling<'a>> = BTreeMap::new();
    for (result, reason) in gone.chain(overdue) {
        let (subscription, seen) = (result.subscription, result.attempt.started_at);
        let one = all.entry(subscription).or_insert(Disabling { subscription, seen, reason, result });
        one.seen = one.seen.max(seen);
    }
    all.into_values().collect()
}

/// Tells operators' logs whom results have disabled, once it is committed.
pub(super) fn log(told: &[OperatorEvent]) {
    for event in told {
        if let OperatorEvent::SubscriptionDisabled { subscription, reason } = event {
            tracing::warn!(subscription.id = %subscription.id, reason, "subscription.disabled");
        }
    }
}

impl Disabling<'_> {
    /// What operators are told when it has been disabled at `now`, and what is kept of it: under an
    /// id made of the result, which counts only once.
    pub(super) fn told_and_kept(
        &self,
        (name, merchant): (String, Option<String>),
        now: DateTime<Utc>,
    ) -> (OperatorEvent, SubscriptionAudit) {
        let (token, notification) = (self.result.lease.token(), self.result.notification.0);
        let id = EventKey::made_at(now, &[b"disable", token.as_bytes(), notification.as_bytes()]);
        let audit = SubscriptionAudit::disabled_by_itself(id.0, self.reason.clone(), now);
        let subscription = Concerned { id: self.subscription, name, merchant };
        (OperatorEvent::SubscriptionDisabled { subscription, reason: self.reason.clone() }, audit)
    }
}
