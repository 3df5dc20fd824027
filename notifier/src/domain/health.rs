//! How a subscription's endpoint does, judged by how attempts at it end.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use messaging::Ladder;

use super::attempt::AttemptResult;
use super::probing::Probing;
use super::{FailureClass, Outcome};

/// After so many attempts in a row that did not reach it an endpoint is unreachable.
pub const UNREACHABLE_AFTER: u32 = 10;
/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// When there was no failure for so long, there was no attempt either: twice what a ladder or a
/// `Retry-After` can ask for. What failed before says nothing of the time between.
const QUIET: TimeDelta = TimeDelta::hours(48);

/// What is held against an endpoint since its last success, and the pause that its receiver asked for.
/// Nothing is kept of one that does well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// When the first attempt began that failed since.
    pub failing_since: DateTime<Utc>,
    /// When the last attempt ended that failed by the endpoint's own fault: not by our way out.
    pub failed_at: Option<DateTime<Utc>>,
    /// Attempts in a row that did not reach it.
    pub unreached: u32,
    /// Why the last attempt failed.
    pub failure_class: Option<FailureClass>,
    /// Where it is unreachable, or its receiver asked for a pause: when it is tried again.
    pub probing: Option<Probing>,
}

/// How many active subscriptions' endpoints do not do well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwell {
    /// Those that are [`HealthState::Failing`].
    pub failing: u64,
    /// Those that are [`HealthState::Unreachable`].
    pub unreachable: u64,
    /// Those that are [`HealthState::PausedByReceiver`].
    pub paused_by_receiver: u64,
}

/// In a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// The last attempt succeeded, or there was none.
    Healthy,
    /// It did not.
    Failing,
    /// It can't be reached, and one attempt at a time is made.
    Unreachable,
    /// Its receiver answered 429 or 503: nothing is sent before the pause is over, then one attempt at a
    /// time until something else is answered.
    PausedByReceiver,
}

impl HealthState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Failing, Self::Unreachable, Self::PausedByReceiver];

    /// The word as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Unreachable => "unreachable",
            Self::PausedByReceiver => "paused_by_receiver",
        }
    }
}

impl Health {
    /// What is held against an endpoint after `result` when it was `before`.
    #[must_use]
    pub fn after(before: Option<Self>, result: &AttemptResult) -> Option<Self> {
        let outcome = result.attempt.outcome;
        if outcome == Outcome::Delivered {
            return before.and_then(|health| health.after_success(result));
        }
        let began = result.attempt.started_at;
        let fresh =
            Self { failing_since: began, failed_at: None, unreached: 0, failure_class: None, probing: None };
        let mut health = Self { failure_class: outcome.failure_class(), ..before.unwrap_or(fresh) };
        if is_own_fault(outcome) {
            if health.failed_at.is_none_or(|failed_at| began - failed_at > QUIET) {
                health.failing_since = began;
            }
            health.failed_at = health.failed_at.max(Some(result.attempt.ended_at()));
        }
        Some(if is_missed(outcome) { health.after_missing(result) } else { health.after_reaching(result) })
    }

    /// Nothing is held against it any more. A pause goes on after an attempt that had begun before it.
    fn after_success(self, result: &AttemptResult) -> Option<Self> {
        let paused = self.probing.is_some_and(|probing| probing.is_pause() && !probing.is_of(result));
        paused.then_some(Self { failed_at: None, unreached: 0, ..self })
    }

    fn after_missing(self, result: &AttemptResult) -> Self {
        let unreached = self.unreached.saturating_add(1);
        let lost = unreached >= UNREACHABLE_AFTER;
        let probing = match self.probing {
            Some(probing) => Some(probing.after_missing(result, lost)),
            None => lost.then(|| Probing::unreached(result)),
        };
        Self { unreached, probing, ..self }
    }

    fn after_reaching(self, result: &AttemptResult) -> Self {
        let probing = match result.pause_asked {
            Some(asked) => Some(Probing::after_asking(self.probing, asked, result)),
            None => self.probing.filter(|probing| probing.is_pause() && !probing.is_of(result)),
        };
        Self { unreached: 0, probing, ..self }
    }

    /// When the first attempt began that failed since the last success, if one did.
    pub fn fails_since(&self) -> Option<DateTime<Utc>> {
        (self.failed_at.is_some() || self.unreached > 0).then_some(self.failing_since)
    }

    /// The same in a word; nothing held against it is [`HealthState::Healthy`].
    pub fn state(health: Option<&Self>) -> HealthState {
        match health {
            None => HealthState::Healthy,
            Some(Self { probing: None, .. }) => HealthState::Failing,
            Some(Self { probing: Some(probing), .. }) if probing.is_pause() => HealthState::PausedByReceiver,
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
    use uuid::Uuid;

    use super::*;
    use crate::domain::attempt::{Attempt, Verdict};
    use crate::domain::probing::{Cause, Probe};
    use crate::domain::receiver_pause::PauseAsked;
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
            pause_asked: None,
        }
    }

    /// The same, answered with 429 and this `Retry-After`.
    fn asking(token: u128, began: i64, retry_after: Option<u64>) -> AttemptResult {
        let retry_after = retry_after.map(Duration::from_secs);
        AttemptResult { pause_asked: Some(PauseAsked { retry_after }), ..result(REFUSED, token, began) }
    }

    /// The health with a probe under way under the lease `token`.
    fn with_probe(health: Health, token: u128) -> Health {
        let probe = Some(Probe { token: Uuid::from_u128(token), until: at(1_000) });
        Health { probing: health.probing.map(|probing| Probing { probe, ..probing }), ..health }
    }

    /// The pause in `health`: its end, and how many answers in a row asked for it.
    fn pause(health: &Health) -> (DateTime<Utc>, u32) {
        match health.probing {
            Some(Probing { not_before, cause: Cause::ReceiverPause { answers }, .. }) => {
                (not_before, answers)
            }
            other => panic!("a pause, not {other:?}"),
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
        assert_eq!(
            lost.probing,
            Some(Probing { not_before: at(9 + 61), probe: None, cause: Cause::Unreached })
        );
        for outcome in [REFUSED, Outcome::Failed(FailureClass::Timeout), Outcome::Gone] {
            let health = Health::after(Some(lost), &result(outcome, 0, 20)).expect("ill");
            assert_eq!((health.unreached, health.probing, health.failing_since), (0, None, at(0)));
        }
    }

    #[test]
    fn a_probe_that_misses_ends_and_the_next_waits_while_what_began_earlier_ends_no_probe() {
        let probe = Probe { token: Uuid::from_u128(7), until: at(125) };
        let begun = Probing { not_before: at(70), probe: Some(probe), cause: Cause::Unreached };
        let health = Health { probing: Some(begun), ..missed(10) };
        assert_eq!(begun.next_at(), at(125), "lost unless it is heard of");
        let earlier = Health::after(Some(health), &result(MISSED, 3, 75)).expect("ill");
        assert_eq!((earlier.probing, earlier.unreached), (Some(begun), 11));
        let own = Health::after(Some(earlier), &result(MISSED, 7, 100)).expect("ill");
        assert_eq!(own.probing, Some(Probing { not_before: at(161), probe: None, ..begun }));
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

    #[test]
    fn each_probe_that_is_asked_for_a_pause_again_doubles_it_and_any_other_answer_ends_it() {
        let mut health = after(&[asking(1, 0, None)]).expect("paused");
        assert_eq!(
            (pause(&health), Health::state(Some(&health))),
            ((at(2), 1), HealthState::PausedByReceiver)
        );
        for (began, until, answers) in [(2, 5, 2), (5, 10, 3), (10, 19, 4)] {
            health = Health::after(Some(with_probe(health, 7)), &asking(7, began, None)).expect("paused");
            assert_eq!(pause(&health), (at(until), answers));
        }
        let probing = with_probe(health, 7);
        for outcome in [REFUSED, Outcome::Failed(FailureClass::Timeout), Outcome::Gone] {
            let health = Health::after(Some(probing), &result(outcome, 7, 30)).expect("it fails");
            assert_eq!((health.probing, health.failing_since), (None, at(0)));
        }
        assert_eq!(Health::after(Some(probing), &result(Outcome::Delivered, 7, 30)), None);
    }

    #[test]
    fn attempts_that_began_before_the_pause_neither_double_nor_end_nor_shorten_it() {
        let health =
            after(&[asking(1, 0, Some(30)), asking(2, 0, None), asking(3, 0, Some(5))]).expect("paused");
        assert_eq!(pause(&health), (at(31), 1));
        let longer = Health::after(Some(health), &asking(4, 0, Some(60))).expect("paused");
        assert_eq!(pause(&longer), (at(61), 1));
        for outcome in [Outcome::Delivered, REFUSED, MISSED] {
            let health = Health::after(Some(health), &result(outcome, 5, 0)).expect("still paused");
            assert_eq!(pause(&health), (at(31), 1), "{outcome:?}");
        }
        let succeeded = Health::after(Some(health), &result(Outcome::Delivered, 5, 0)).expect("still paused");
        assert_eq!(succeeded.fails_since(), None);
    }

    #[test]
    fn a_paused_endpoint_that_is_not_reached_any_more_is_tried_ever_less_often_and_becomes_unreachable() {
        let mut health = after(&[asking(1, 0, None)]).expect("paused");
        for missed in 1..UNREACHABLE_AFTER {
            health = Health::after(Some(with_probe(health, 7)), &result(MISSED, 7, 10)).expect("it fails");
            assert_eq!((health.unreached, pause(&health).1), (missed, missed + 1));
        }
        health = Health::after(Some(with_probe(health, 7)), &result(MISSED, 7, 10)).expect("it fails");
        assert_eq!(Health::state(Some(&health)), HealthState::Unreachable);
    }

    #[test]
    fn an_unreachable_endpoint_that_answers_with_a_pause_is_paused() {
        let health = Health::after(Some(with_probe(missed(10), 7)), &asking(7, 70, Some(5))).expect("paused");
        assert_eq!((pause(&health), health.unreached), ((at(76), 1), 0));
    }
}
