//! Days by the time that keys and ids begin with: what is kept and removed together.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Span;

const MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A day of UTC. Event keys and notification ids are of the day they begin with, whenever they came
/// in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day of a time.
    pub fn of(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_millis().div_euclid(MILLIS))
    }

    /// The day of a key or an id.
    pub fn of_id(id: Uuid) -> Self {
        Self(millis_of(id) / MILLIS)
    }

    /// The day that is this many days after 1970-01-01.
    pub fn from_number(days: i64) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The day so many days later, or earlier where negative.
    #[must_use]
    pub fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Every id of the day is this one or above, and below the next day's first.
    pub fn first_id(self) -> Uuid {
        first_id_at(self.0.saturating_mul(MILLIS))
    }

    /// Every id of the day.
    pub fn span(self) -> Span {
        Span::of_millis(self.0.saturating_mul(MILLIS), self.plus(1).0.saturating_mul(MILLIS) - 1)
    }

    /// Whether the day was over, and all that came in promptly was there, at `time`; see
    /// [`is_prompt`].
    pub fn is_settled_at(self, time: DateTime<Utc>) -> bool {
        self.plus(1).0.saturating_mul(MILLIS) + LATE_MILLIS <= time.timestamp_millis()
    }
}

/// As in the names of tables: `20260131`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0.saturating_mul(MILLIS)) {
            Some(time) => write!(f, "{}", time.format("%Y%m%d")),
            None => write!(f, "{}", self.0),
        }
    }
}

/// How much later than its time an event comes in when all is well.
pub const LATE_MILLIS: i64 = 60 * 60 * 1000;
/// How much earlier: publishers' clocks are ahead of ours by less.
pub const EARLY_MILLIS: i64 = 60 * 1000;

/// Whether an event that came in at `received_at` did so at about the time in its key. Of the days
/// of all others it is remembered when they did.
pub fn is_prompt(key: Uuid, received_at: DateTime<Utc>) -> bool {
    let after = received_at.timestamp_millis() - millis_of(key);
    (-EARLY_MILLIS..=LATE_MILLIS).contains(&after)
}

/// The time that a `UUIDv7` begins with, in milliseconds since the epoch.
pub fn millis_of(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).expect("48 bits")
}

/// The lowest id of a millisecond since the epoch, as far as ids go.
pub(super) fn first_id_at(millis: i64) -> Uuid {
    let millis = u128::try_from(millis.max(0)).expect("not negative").min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, id_at};
    use super::*;

    #[test]
    fn an_id_is_of_the_day_it_begins_with() {
        let day = Day::of(at("2026-01-31T12:00:00Z"));
        assert_eq!(day.to_string(), "20260131");
        for (time, expected) in [
            ("2026-01-30T23:59:59.999Z", day.plus(-1)),
            ("2026-01-31T00:00:00.000Z", day),
            ("2026-01-31T23:59:59.999Z", day),
            ("2026-02-01T00:00:00.000Z", day.plus(1)),
        ] {
            let id = id_at(time);
            assert_eq!(Day::of_id(id), expected, "{time}");
            assert_eq!(day.span().contains(id), expected == day, "{time}");
            assert_eq!(day.first_id() <= id && id < day.plus(1).first_id(), expected == day, "{time}");
        }
    }

    #[test]
    fn an_hour_late_is_prompt_and_a_day_is_settled_only_after_that() {
        let key = id_at("2026-01-31T23:59:59.999Z");
        assert!(is_prompt(key, at("2026-02-01T00:59:59.999Z")));
        assert!(!is_prompt(key, at("2026-02-01T01:00:00Z")));
        assert!(is_prompt(key, at("2026-01-31T23:59:00Z")));
        assert!(!is_prompt(key, at("2026-01-31T23:58:59Z")));
        let day = Day::of_id(key);
        assert!(!day.is_settled_at(at("2026-02-01T00:59:59.999Z")));
        assert!(day.is_settled_at(at("2026-02-01T01:00:00Z")));
    }

    #[test]
    fn the_last_day_that_ids_can_have_ends() {
        let last = Day::of_id(Uuid::max());
        assert!(last.span().contains(Uuid::max()));
        assert!(last.first_id() < Uuid::max());
    }
}
