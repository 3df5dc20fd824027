//! The totals of a statement: how many recharges, and how much money, by merchant, currency and status.

use super::{Currency, StatusName};

/// How many recharges one answer sums up at most. Of so many the largest sum fits into 64 bits:
/// [`Amount::MAX`](super::Amount::MAX) × this is below 2^63.
pub const MAX_RECHARGES: u32 = 2_000_000;
/// How many totals one answer has at most.
pub const MAX_TOTALS: u32 = 10_000;

/// What the recharges of one merchant in one currency and status come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Whose recharges.
    pub merchant: String,
    /// In which currency.
    pub currency: Currency,
    /// In which status.
    pub status: StatusName,
    /// How many.
    pub count: u64,
    /// Their amounts together, in minor units.
    pub sum: i64,
}

/// More match than one answer sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {MAX_RECHARGES} recharges or {MAX_TOTALS} totals match: ask for a shorter period, or for one merchant"
)]
pub struct TooMany;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Amount;

    #[test]
    fn the_largest_sum_fits_into_64_bits() {
        assert!(Amount::MAX.checked_mul(i64::from(MAX_RECHARGES) + 1).is_some());
    }
}
