//! How long an endpoint may fail before its subscription is disabled.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use runtime::duration::HumanDuration;

use super::Health;

const MIN: Duration = Duration::from_mins(1);
const MAX: Duration = Duration::from_hours(24 * 3650);

/// For how long an endpoint must have failed without one success, 1 minute to 3650 days, before its
/// subscription is disabled; never, where there is no such time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisableAfter(Option<TimeDelta>);

/// The text is no such time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1m to 3650d, such as `5d`, or `never`")]
pub struct NotADisableAfter;

impl DisableAfter {
    /// No endpoint's subscription is disabled, however long it fails.
    pub const NEVER: Self = Self(None);

    /// Whoever fails since this time at `now`, or longer, is disabled; `None`: nobody is.
    pub fn limit(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.and_then(|time| now.checked_sub_signed(time))
    }

    /// Why a subscription whose endpoint has failed again is disabled at `now`, if it is.
    pub fn reason(self, health: &Health, now: DateTime<Utc>) -> Option<String> {
        let overdue = self.limit(now).is_some_and(|limit| health.failing_since <= limit);
        let since = || health.failing_since.to_rfc3339_opts(SecondsFormat::Secs, true);
        overdue.then(|| format!("every attempt has failed since {}", since()))
    }
}

/// Five days.
impl Default for DisableAfter {
    fn default() -> Self {
        Self(Some(TimeDelta::days(5)))
    }
}

impl FromStr for DisableAfter {
    type Err = NotADisableAfter;

    fn from_str(text: &str) -> Result<Self, NotADisableAfter> {
        let text = text.trim();
        if ["never", "0", "0s"].contains(&text) {
            return Ok(Self::NEVER);
        }
        let time: HumanDuration = text.parse().map_err(|_| NotADisableAfter)?;
        let allowed = (MIN..=MAX).contains(&time.0);
        let time = allowed.then(|| TimeDelta::from_std(time.0).ok()).flatten();
        time.map(|time| Self(Some(time))).ok_or(NotADisableAfter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_minute_to_ten_years_or_never() {
        assert_eq!("5d".parse(), Ok(DisableAfter::default()));
        assert_eq!("1m".parse(), Ok(DisableAfter(Some(TimeDelta::minutes(1)))));
        assert!("3650d".parse::<DisableAfter>().is_ok());
        for text in ["never", "0", " 0s "] {
            assert_eq!(text.parse(), Ok(DisableAfter::NEVER), "{text}");
        }
        for text in ["", "soon", "5", "59s", "3651d", "-1d", "off"] {
            assert_eq!(text.parse::<DisableAfter>(), Err(NotADisableAfter), "{text}");
        }
    }

    #[test]
    fn who_fails_for_that_long_is_disabled_with_since_when() {
        let since: DateTime<Utc> = "2026-01-01T00:00:00.25Z".parse().expect("a time");
        let health = Health {
            failing_since: since,
            failed_at: Some(since),
            unreached: 0,
            failure_class: None,
            probing: None,
        };
        let after = |time| DisableAfter::default().reason(&health, since + time);
        assert_eq!(after(TimeDelta::hours(119)), None);
        assert_eq!(
            after(TimeDelta::days(5)).as_deref(),
            Some("every attempt has failed since 2026-01-01T00:00:00Z")
        );
        assert_eq!(DisableAfter::NEVER.reason(&health, since + TimeDelta::days(5000)), None);
    }
}
