//! The audit: whether every balance is the sum of its account's credits.

use super::account::AccountNo;
use super::money::Currency;

/// The books summed up, all at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// One entry per currency, in alphabetical order.
    pub totals: Vec<Total>,
    /// How many credits have no order number, so that their orders are not protected against a second credit.
    pub without_order: u64,
    /// How many accounts differ.
    pub differing: u64,
    /// The first of them by account number, at most as many as were asked for.
    pub differences: Vec<Difference>,
}

/// What the accounts of one currency hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// The currency.
    pub currency: Currency,
    /// How many accounts.
    pub accounts: u64,
    /// How many credits.
    pub credits: u64,
    /// Σ balances in minor units; more than 64 bits may be needed.
    pub balances: i128,
    /// Σ credits in minor units.
    pub credited: i128,
}

/// An account whose balance is not the sum of its credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which account.
    pub account_no: AccountNo,
    /// What it holds.
    pub currency: Currency,
    /// What it is said to hold, in minor units.
    pub balance: i64,
    /// The sum of its credits.
    pub credited: i128,
}

impl Audit {
    /// Whether every balance is the sum of its credits.
    pub fn balanced(&self) -> bool {
        self.differing == 0
    }
}
