//! Both sides of a reconciliation, counted and summed up per currency.

use std::collections::BTreeMap;

use super::credit::Credit;
use super::money::{Amount, Currency};
use super::recharge::Recharge;

/// How many, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Σ in minor units; more than 64 bits may be needed.
    pub amount: i128,
}

/// What one currency comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sides {
    /// Recharges that succeeded there.
    pub there: Sum,
    /// Credits that were here before.
    pub here: Sum,
    /// Credits that the reconciliation has made.
    pub credited: Sum,
}

/// By currency, in alphabetical order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Currency, Sides>);

impl Sum {
    fn add(&mut self, count: u64, amount: i128) {
        self.count = self.count.saturating_add(count);
        self.amount = self.amount.saturating_add(amount);
    }

    fn one(&mut self, amount: Amount) {
        self.add(1, amount.minor_units().into());
    }
}

impl Totals {
    /// What each currency comes to.
    pub fn iter(&self) -> impl Iterator<Item = (&Currency, &Sides)> {
        self.0.iter()
    }

    pub(super) fn add_there(&mut self, recharge: &Recharge) {
        self.0.entry(recharge.currency).or_default().there.one(recharge.amount);
    }

    pub(super) fn add_here(&mut self, credit: &Credit) {
        self.0.entry(credit.currency).or_default().here.one(credit.amount);
    }

    pub(super) fn add_credited(&mut self, credit: &Credit) {
        self.0.entry(credit.currency).or_default().credited.one(credit.amount);
    }

    pub(super) fn add_all(&mut self, more: &Self) {
        for (currency, sides) in &more.0 {
            let total = self.0.entry(*currency).or_default();
            total.there.add(sides.there.count, sides.there.amount);
            total.here.add(sides.here.count, sides.here.amount);
            total.credited.add(sides.credited.count, sides.credited.amount);
        }
    }
}

impl FromIterator<(Currency, Sides)> for Totals {
    fn from_iter<I: IntoIterator<Item = (Currency, Sides)>>(sides: I) -> Self {
        Self(sides.into_iter().collect())
    }
}
