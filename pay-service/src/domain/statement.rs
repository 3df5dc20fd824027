//! The statement: which recharges a receiver reconciles against.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::StatusName;

/// Which recharges are asked for; what is `None` does not matter. Always oldest first.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// Of this merchant.
    pub merchant: Option<String>,
    /// In this status now.
    pub status: Option<StatusName>,
    /// For this account.
    pub account_no: Option<String>,
    /// Created then or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before then.
    pub created_to: Option<DateTime<Utc>>,
}

impl Statement {
    /// The smallest number that a recharge of the period can have. Numbers start with the
    /// millisecond of creation, so the period is a range of the primary key.
    pub fn first_number(&self) -> Option<Uuid> {
        self.created_from.map(|from| number_at(from.timestamp_millis()))
    }

    /// A number greater than any that a recharge of the period can have.
    pub fn end_number(&self) -> Option<Uuid> {
        self.created_to.map(|to| number_at(to.timestamp_millis().saturating_add(1)))
    }
}

/// The smallest number of this millisecond. A number has 48 bits of time, from 1970 to 10889.
fn number_at(millis: i64) -> Uuid {
    let millis = u128::try_from(millis).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().expect("a time")
    }

    #[test]
    fn a_period_is_a_range_of_numbers_that_holds_both_of_its_edges() {
        let period = Statement {
            created_from: Some(at("2026-01-01T00:00:00.0005Z")),
            created_to: Some(at("2026-01-01T00:00:01.0005Z")),
            ..Statement::default()
        };
        let number = |time: &str, bits: u8| {
            let millis = u64::try_from(at(time).timestamp_millis()).expect("after 1970");
            uuid::Builder::from_unix_timestamp_millis(millis, &[bits; 10]).into_uuid()
        };
        let range = period.first_number().expect("from")..period.end_number().expect("to");
        assert!(range.contains(&number("2026-01-01T00:00:00.000Z", 0)));
        assert!(range.contains(&number("2026-01-01T00:00:01.000Z", 0xFF)));
        assert!(!range.contains(&number("2025-12-31T23:59:59.999Z", 0xFF)));
        assert!(!range.contains(&number("2026-01-01T00:00:01.001Z", 0)));
    }

    #[test]
    fn times_out_of_reach_are_the_ends_of_the_range() {
        let ages = Statement {
            created_from: Some(DateTime::<Utc>::MIN_UTC),
            created_to: Some(DateTime::<Utc>::MAX_UTC),
            ..Statement::default()
        };
        assert_eq!(ages.first_number(), Some(Uuid::nil()));
        assert!(ages.end_number() > ages.first_number());
    }
}
