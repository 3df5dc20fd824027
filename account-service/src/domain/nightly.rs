//! When days that are over are reconciled by themselves.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveTime, Utc};

use super::days::day_of;
use super::period::Period;

/// The earliest time of day: a period must have been over for a minute.
const EARLIEST: NaiveTime = NaiveTime::from_hms_opt(0, 1, 0).expect("a time of day");

/// Whether, and at which time of day (UTC), the day before is reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nightly {
    /// It is not.
    Off,
    /// Every day from this time on.
    At(NaiveTime),
}

/// Not a setting of [`Nightly`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `off` or a time of day in UTC from 00:01 to 23:59, such as `02:30`")]
pub struct NotNightly;

impl Nightly {
    /// The default.
    pub const DEFAULT: &str = "02:30";

    /// The last day that is due at `now`.
    pub fn due(self, now: DateTime<Utc>) -> Option<Period> {
        match self {
            Self::Off => None,
            Self::At(time) => last_day(time, now),
        }
    }

    /// The last day that ought to be reconciled at `now`, by itself or by somebody.
    pub fn last_over(self, now: DateTime<Utc>) -> Option<Period> {
        self.due(now).or_else(|| last_day(EARLIEST, now))
    }
}

/// The last day that is over for as long as it takes from midnight to `time`.
fn last_day(time: NaiveTime, now: DateTime<Utc>) -> Option<Period> {
    let before = if now.time() >= time { 1 } else { 2 };
    Some(day_of(now.date_naive().checked_sub_days(Days::new(before))?))
}

impl FromStr for Nightly {
    type Err = NotNightly;

    fn from_str(text: &str) -> Result<Self, NotNightly> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let time = NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| NotNightly)?;
        if time >= EARLIEST { Ok(Self::At(time)) } else { Err(NotNightly) }
    }
}

impl fmt::Display for Nightly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(time) => write!(f, "{}", time.format("%H:%M")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(now: &str) -> String {
        let nightly: Nightly = Nightly::DEFAULT.parse().expect("the default");
        let period = nightly.due(now.parse().expect("a time")).expect("a day is due");
        format!("{} {}", period.from.to_rfc3339(), period.to.to_rfc3339())
    }

    #[test]
    fn the_day_before_is_due_from_the_time_on_until_the_next_day_is() {
        let second = "2026-01-02T00:00:00+00:00 2026-01-03T00:00:00+00:00";
        assert_eq!(due("2026-01-03T02:30:00Z"), second);
        assert_eq!(due("2026-01-04T02:29:59Z"), second);
        assert_eq!(due("2026-03-01T12:00:00Z"), "2026-02-28T00:00:00+00:00 2026-03-01T00:00:00+00:00");
        assert_eq!(Nightly::Off.due(DateTime::UNIX_EPOCH), None);
    }

    #[test]
    fn it_is_off_or_a_time_of_day_that_leaves_a_minute() {
        for text in ["off", "00:01", "02:30", "23:59"] {
            assert_eq!(text.parse::<Nightly>().expect(text).to_string(), text);
        }
        for text in ["", "00:00", "24:00", "2:30pm", "02:30:00", "on", "never"] {
            assert_eq!(text.parse::<Nightly>(), Err(NotNightly), "{text}");
        }
    }
}
