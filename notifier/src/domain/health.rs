//! How a subscription's endpoint does, told from how attempts at it end.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use messaging::Ladder;
use uuid::Uuid;

use super::attempt::AttemptResult;
use super::{FailureClass, Outcome};

/// After so many attempts in a row that did not reach it an endpoint is unreachable.
pub const UNREACHABLE_AFTER: u32 = 10;
/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// When there was no failure for so long, there was no attempt either: twice what a ladder or a
/// `Retry-After` can ask for. What failed before says nothing of the time between.
const QUIET: TimeDelta = TimeDelta::hours(48);

/// What is held against an endpoint since its last success. Nothing is kept of one that does well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// When the first attempt began that failed since.
    pub failing_since: DateTime<Utc>,
    /// When the last attempt ended that failed by the endpoint's own fault: not by our way out.
    pub failed_at: Option<DateTime<Utc>>,
    /// Attempts in a row that did not reach it.
    pub unreached: u32,
    /// Where it is unreachable: how it is found out whether it still is.
    pub probing: Option<Probing>,
}

/// One attempt at a time, over all processes, until something answers (a half-open circuit breaker).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// No probe begins before this time.
    pub not_before: DateTime<Utc>,
    /// The one that has begun.
    pub probe: Option<Probe>,
}

/// A probe: an ordinary attempt, under the lease of its notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its lease's token.
    pub token: Uuid,
    /// From this time on it is lost if nothing was heard of it.
    pub until: DateTime<Utc>,
}

impl Probing {
    /// The earliest time at which the next probe can begin; earlier if one under way ends.
    pub fn next_at(&self) -> DateTime<Utc> {
        self.probe.map_or(self.not_before, |probe| probe.until.max(self.not_before))
    }

    fn after_missing(self, result: &AttemptResult) -> Self {
        match self.probe {
            // One that had begun before the circuit opened.
            Some(probe) if probe.token != result.lease.token() => self,
            Some(_) => Self { not_before: result.probe_at, probe: None },
            None => Self { not_before: self.not_before.max(result.probe_at), probe: None },
        }
    }
}

/// How many active subscriptions' endpoints do not do well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwell {
    /// Those that are [`HealthState::Failing`].
    pub failing: u64,
    /// Those that are [`HealthState::Unreachable`].
    pub unreachable: u64,
}

/// In a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// The last attempt succeeded, or there was none.
    Healthy,
    /// It did not.
    Failing,
    /// Nobody is reached, and one attempt at a time is made.
    Unreachable,
}

impl HealthState {
    /// The word as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Health {
    /// What is held against an endpoint after `result` when it was `before`: nothing after a success.
    #[must_use]
    pub fn after(before: Option<Self>, result: &AttemptResult) -> Option<Self> {
        let outcome = result.attempt.outcome;
        if outcome == Outcome::Delivered {
            return None;
        }
        let began = result.attempt.started_at;
        let fresh = Self { failing_since: began, failed_at: None, unreached: 0, probing: None };
        let mut health = before.unwrap_or(fresh);
        if is_own_fault(outcome) {
            if health.failed_at.is_none_or(|failed_at| began - failed_at > QUIET) {
                health.failing_since = began;
            }
            health.failed_at = health.failed_at.max(Some(began + result.attempt.duration));
        }
        Some(if is_missed(outcome) { health.after_missing(result) } else { health.after_reaching() })
    }

    fn after_missing(self, result: &AttemptResult) -> Self {
        let unreached = self.unreached.saturating_add(1);
        let opening = || Probing { not_before: result.probe_at, probe: None };
        let probing = match self.probing {
            Some(probing) => Some(probing.after_missing(result)),
            None => (unreached >= UNREACHABLE_AFTER).then(opening),
        };
        Self { unreached, probing, ..self }
    }

    fn after_reaching(self) -> Self {
        Self { unreached: 0, probing: None, ..self }
    }

    /// The same in a word; nothing held against it is [`HealthState::Healthy`].
    pub fn state(health: Option<&Self>) -> HealthState {
        match health {
            None => HealthState::Healthy,
            Some(Self { probing: None, .. }) => HealthState::Failing,
            Some(Self { probing: Some(_), .. }) => HealthState::Unreachable,
        }
    }
}

/// Whether the attempt did not come to the endpoint. Any HTTP answer did, and so did a request that
/// was sent and not answered in time.
fn is_missed(outcome: Outcome) -> bool {
    use FailureClass::{BlockedTarget, Connect, Dns, Proxy, Tls};
    matches!(outcome, Outcome::Failed(Dns | Connect | Tls | BlockedTarget | Proxy))
}

/// Whether a failure speaks against the endpoint: that of our own way out speaks against nobody.
pub fn is_own_fault(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Delivered | Outcome::Failed(FailureClass::Proxy))
}

/// How long an endpoint with this ladder is left alone between two probes: a step of the ladder, so
/// that short ladders still end in about their own time, and a minute at the most.
pub fn probe_pause(ladder: &Ladder) -> Duration {
    ladder.wait_after(1).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::attempt::{Attempt, Verdict};
    use crate::domain::{Lease, NotificationId, RequestTimeout, SubscriptionId};

    const MISSED: Outcome = Outcome::Failed(FailureClass::Connect);
    const REFUSED: Outcome = Outcome::Failed(FailureClass::Status);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + seconds, 0).expect("a time")
    }

    /// An attempt of a second under the lease `token` that began at `began`.
    fn result(outcome: Outcome, token: u128, began: i64) -> AttemptResult {
        AttemptResult {
            notification: NotificationId(Uuid::nil()),
            subscription: SubscriptionId(Uuid::nil()),
            lease: Lease::grant(Uuid::from_u128(token), at(began), RequestTimeout::default()),
            attempt: Attempt {
                number: 1,
                started_at: at(began),
                duration: Duration::from_secs(1),
                outcome,
                http_status: None,
                error: None,
                response_excerpt: None,
            },
            verdict: Verdict::RetryAt(at(began + 61)),
            probe_at: at(began + 61),
        }
    }

    fn after(results: &[AttemptResult]) -> Option<Health> {
        results.iter().fold(None, Health::after)
    }

    fn missed(times: i64) -> Health {
        after(&(0..times).map(|n| result(MISSED, 0, n)).collect::<Vec<_>>()).expect("ill")
    }

    #[test]
    fn nothing_is_held_against_who_answers_and_a_success_clears_all() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[result(Outcome::Delivered, 0, 0)]), None);
        assert_eq!(Health::after(Some(missed(12)), &result(Outcome::Delivered, 0, 20)), None);
    }

    #[test]
    fn it_fails_since_the_first_failure_after_the_last_success() {
        let health = after(&[
            result(REFUSED, 0, 0),
            result(Outcome::Delivered, 0, 10),
            result(REFUSED, 0, 20),
            result(MISSED, 0, 30),
        ]);
        let health = health.expect("ill");
        assert_eq!((health.failing_since, health.failed_at), (at(20), Some(at(31))));
        assert_eq!(Health::state(Some(&health)), HealthState::Failing);
    }

    #[test]
    fn two_failures_with_nothing_between_them_for_days_are_not_one_long_one() {
        let hours = |hours: i64| 3600 * hours;
        let since =
            |second| after(&[result(REFUSED, 0, 0), result(REFUSED, 0, second)]).map(|h| h.failing_since);
        assert_eq!(since(hours(48)), Some(at(0)));
        assert_eq!(since(hours(48) + 2), Some(at(hours(48) + 2)));
    }

    #[test]
    fn the_proxys_failures_are_nobodys_fault_but_nobody_is_reached_either() {
        let proxy = Outcome::Failed(FailureClass::Proxy);
        let down: Vec<_> = (0..10).map(|n| result(proxy, 0, n)).collect();
        let health = after(&down).expect("ill");
        assert_eq!((health.failed_at, Health::state(Some(&health))), (None, HealthState::Unreachable));
        let refused = Health::after(Some(health), &result(REFUSED, 0, 500_000)).expect("ill");
        assert_eq!(refused.failing_since, at(500_000));
    }

    #[test]
    fn ten_in_a_row_that_reach_nobody_make_it_unreachable_and_any_answer_ends_that() {
        assert_eq!(missed(9).probing, None);
        let lost = missed(10);
        assert_eq!(lost.probing, Some(Probing { not_before: at(9 + 61), probe: None }));
        for outcome in [REFUSED, Outcome::Failed(FailureClass::Timeout), Outcome::Gone] {
            let health = Health::after(Some(lost), &result(outcome, 0, 20)).expect("ill");
            assert_eq!((health.unreached, health.probing, health.failing_since), (0, None, at(0)));
        }
    }

    #[test]
    fn a_probe_that_misses_ends_and_the_next_waits_while_what_began_earlier_ends_no_probe() {
        let probe = Probe { token: Uuid::from_u128(7), until: at(125) };
        let begun = Probing { not_before: at(70), probe: Some(probe) };
        let health = Health { probing: Some(begun), ..missed(10) };
        assert_eq!(begun.next_at(), at(125), "lost unless it is heard of");
        let earlier = Health::after(Some(health), &result(MISSED, 3, 75)).expect("ill");
        assert_eq!((earlier.probing, earlier.unreached), (Some(begun), 11));
        let own = Health::after(Some(earlier), &result(MISSED, 7, 100)).expect("ill");
        assert_eq!(own.probing, Some(Probing { not_before: at(161), probe: None }));
    }

    #[test]
    fn probes_keep_to_the_ladders_first_step_and_a_minute_at_the_most() {
        let pause =
            |step: &str| probe_pause(&Ladder::new(vec![step.parse().expect("a time")]).expect("a ladder"));
        assert_eq!(
            (pause("1s"), pause("1m"), pause("4m")),
            (Duration::from_secs(1), LONGEST_PAUSE, LONGEST_PAUSE)
        );
    }
}
