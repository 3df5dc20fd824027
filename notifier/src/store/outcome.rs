//! What a result writes, the same in both databases.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Recorded;
use crate::domain::attempt::{AttemptResult, FailureClass, Verdict};
use crate::domain::operator_event::Concerned;
use crate::domain::{Attempt, OperatorEvent, SubscriptionId};

/// Why a subscription is disabled by [`Verdict::Gone`].
pub(super) const GONE_REASON: &str = "the endpoint answered 410 Gone";

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

/// The subscriptions that counted results disable, and when the attempts began: what has been
/// changed since then was not what answered, so it is not disabled.
pub(super) fn gone(counted: &[&AttemptResult]) -> impl Iterator<Item = (SubscriptionId, DateTime<Utc>)> {
    let gone = counted.iter().filter(|result| result.verdict == Verdict::Gone);
    gone.map(|result| (result.subscription, result.attempt.started_at))
}

/// What operators are told of a subscription (its id, name and merchant) that a 410 has disabled.
pub(super) fn disabled_by_410((id, name, merchant): (Uuid, String, Option<String>)) -> OperatorEvent {
    let subscription = Concerned { id: SubscriptionId(id), name, merchant };
    OperatorEvent::SubscriptionDisabled { subscription, reason: GONE_REASON.to_owned() }
}
