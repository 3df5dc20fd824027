//! The period that a reconciliation is about.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use runtime::validation::{Invalid, Violations};
use uuid::Uuid;

/// How long a period must have been over. pay-service's processes number their recharges each by its
/// own clock, and a recharge that is being committed is not in the statement yet.
pub(crate) const OVER_FOR: TimeDelta = TimeDelta::minutes(1);

/// Recharges created from `from` on and before `to`, both whole milliseconds: so it is a range of
/// `tx_no`s, which begin with the millisecond of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Where it starts.
    pub from: DateTime<Utc>,
    /// Where it ends; not part of it.
    pub to: DateTime<Utc>,
}

impl Period {
    /// A period that was over for a minute at `now`.
    pub fn over(from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Result<Self, Invalid> {
        let mut violations = Violations::new();
        for (field, time) in [("from", from), ("to", to)] {
            let whole = "must be a whole millisecond, since recharges are numbered by it";
            violations.require(time.trunc_subsecs(3) == time, field, whole);
        }
        violations.require(from >= DateTime::UNIX_EPOCH, "from", "must be 1970-01-01T00:00:00Z or later");
        violations.require(from < to, "to", "must be later than `from`");
        let over =
            "must lie at least a minute in the past: what is just being created is not in the statement yet";
        violations.require(to <= now - OVER_FOR, "to", over);
        violations.finish()?;
        Ok(Self { from, to })
    }

    /// Whether a recharge of this number is of the period.
    pub fn holds(&self, tx_no: Uuid) -> bool {
        (self.first()..self.end()).contains(&tx_no)
    }

    /// The smallest number that a recharge of the period can have.
    pub fn first(&self) -> Uuid {
        number_at(self.from)
    }

    /// The smallest number that a later recharge can have.
    pub fn end(&self) -> Uuid {
        number_at(self.to)
    }
}

/// The smallest number of this millisecond. A number has 48 bits of time, from 1970 to 10889.
fn number_at(time: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(time.timestamp_millis()).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}

/// The millisecond that a number begins with.
pub(super) fn time_of(tx_no: Uuid) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(tx_no.as_u128() >> 80).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().expect("a time")
    }

    fn refused(from: &str, to: &str) -> Vec<String> {
        let refused = Period::over(at(from), at(to), at("2026-01-02T00:00:00Z"));
        refused.map_or_else(|i| i.0.into_iter().map(|error| error.field).collect(), |_| Vec::new())
    }

    #[test]
    fn a_period_is_whole_milliseconds_that_are_over() {
        assert!(refused("2026-01-01T00:00:00.001Z", "2026-01-01T23:59:00Z").is_empty());
        assert_eq!(refused("2026-01-01T00:00:00Z", "2026-01-01T23:59:00.001Z"), ["to"]);
        assert_eq!(refused("2026-01-01T00:00:00.0001Z", "2026-01-01T00:00:01.0001Z"), ["from", "to"]);
        assert_eq!(refused("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), ["to"]);
        assert_eq!(refused("1969-12-31T00:00:00Z", "2026-01-01T00:00:00Z"), ["from"]);
    }

    #[test]
    fn it_holds_the_numbers_of_its_milliseconds() {
        let period = Period { from: at("2026-01-01T00:00:00Z"), to: at("2026-01-01T00:00:00.002Z") };
        let number = |millis: i64, bits: u8| {
            let millis = u64::try_from(period.from.timestamp_millis() + millis).expect("after 1970");
            uuid::Builder::from_unix_timestamp_millis(millis, &[bits; 10]).into_uuid()
        };
        let held = [(-1, 0xFF), (0, 0), (1, 0xFF), (2, 0)].map(|(m, bits)| period.holds(number(m, bits)));
        assert_eq!(held, [false, true, true, false]);
        assert_eq!(time_of(number(1, 0xFF)), Some(at("2026-01-01T00:00:00.001Z")));
    }
}
