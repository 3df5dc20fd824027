//! How long the log is kept.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use runtime::duration::HumanDuration;
use uuid::Uuid;

use super::day::first_id_at;

const MIN: Duration = Duration::from_hours(24);
const MAX: Duration = Duration::from_hours(24 * 3650);

/// How long events, notifications and attempts are kept after they came in: 1 to 3650 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(TimeDelta);

/// The text is no such time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1d to 3650d, such as `90d`")]
pub struct NotARetention;

impl Retention {
    /// What is older than this at `now` is not kept. A time before all others where there is none.
    pub fn end(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.checked_sub_signed(self.0).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

impl Retention {
    /// The lowest key of an event that is not older than this at `now`.
    pub fn first_kept_id(self, now: DateTime<Utc>) -> Uuid {
        first_id_at(self.end(now).timestamp_millis())
    }
}

/// 90 days.
impl Default for Retention {
    fn default() -> Self {
        Self(TimeDelta::days(90))
    }
}

impl FromStr for Retention {
    type Err = NotARetention;

    fn from_str(text: &str) -> Result<Self, NotARetention> {
        let time: HumanDuration = text.parse().map_err(|_| NotARetention)?;
        let allowed = (MIN..=MAX).contains(&time.0);
        allowed.then(|| TimeDelta::from_std(time.0).ok()).flatten().map(Self).ok_or(NotARetention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_day_to_ten_years() {
        let days = |text: &str| text.parse::<Retention>().map(|retention| retention.0.num_days());
        assert_eq!(days("90d"), Ok(90));
        assert_eq!(days("24h"), Ok(1));
        assert_eq!(days("3650d"), Ok(3650));
        for text in ["", "soon", "90", "0d", "23h", "3651d", "-1d"] {
            assert_eq!(days(text), Err(NotARetention), "{text}");
        }
        assert_eq!("90d".parse(), Ok(Retention::default()));
    }
}
