//! What differs between pay-service's statement and the credits here: the comparison is a function
//! of two ordered lists.

use std::cmp::Ordering;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::credit::Credit;
use super::recharge::{Recharge, Status, UnknownWord};
use super::totals::Totals;

/// How the two sides differ about one recharge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceKind {
    /// It succeeded there and was not credited here; now it is.
    MissingHere,
    /// It succeeded there, was not credited here, and can't be.
    Refused,
    /// It succeeded there, and its order is credited here under another `tx_no`.
    OrderCreditedAlready,
    /// It is credited here, and there it is pending, failed or closed.
    NotSucceededThere,
    /// It is credited here, and the statement does not hold it.
    NotThere,
    /// It is credited to another account than it succeeded for; amount and currency may differ too.
    AccountDiffers,
    /// It is credited in another currency; the amount may differ too.
    CurrencyDiffers,
    /// Another amount is credited.
    AmountDiffers,
}

/// A recharge about which the two sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which recharge.
    pub tx_no: Uuid,
    /// How they differ.
    pub kind: DifferenceKind,
    /// What the statement says.
    pub there: Option<Recharge>,
    /// What is credited here, at the end of the comparison.
    pub here: Option<Credit>,
    /// Why it can't be credited; of [`DifferenceKind::Refused`] and
    /// [`DifferenceKind::OrderCreditedAlready`].
    pub detail: Option<String>,
    /// The exception that is kept of it.
    pub exception_id: Option<Uuid>,
}

/// A difference as it is kept: what either side held, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptDifference {
    /// Which recharge.
    pub tx_no: Uuid,
    /// How they differ.
    pub kind: DifferenceKind,
    /// What the statement said.
    pub there: Option<Box<str>>,
    /// What is credited here.
    pub here: Option<Box<str>>,
    /// Why it can't be credited.
    pub detail: Option<String>,
    /// The exception that is kept of it.
    pub exception_id: Option<Uuid>,
    /// When it was found.
    pub found_at: DateTime<Utc>,
}

/// What the comparison of two sides comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Both sides summed up.
    pub totals: Totals,
    /// By number. What is to be credited is [`DifferenceKind::MissingHere`] yet.
    pub differences: Vec<Difference>,
}

impl DifferenceKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::MissingHere,
        Self::Refused,
        Self::OrderCreditedAlready,
        Self::NotSucceededThere,
        Self::NotThere,
        Self::AccountDiffers,
        Self::CurrencyDiffers,
        Self::AmountDiffers,
    ];

    /// The word for it in the database, in answers and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingHere => "missing_here",
            Self::Refused => "refused",
            Self::OrderCreditedAlready => "order_credited_already",
            Self::NotSucceededThere => "not_succeeded_there",
            Self::NotThere => "not_there",
            Self::AccountDiffers => "account_differs",
            Self::CurrencyDiffers => "currency_differs",
            Self::AmountDiffers => "amount_differs",
        }
    }

    /// How `there` and `here`, which are about the same recharge, differ.
    fn between(there: &Recharge, here: &Credit) -> Option<Self> {
        let differs = [
            (there.status != Status::Succeeded, Self::NotSucceededThere),
            (there.account_no != here.account_no, Self::AccountDiffers),
            (there.currency != here.currency, Self::CurrencyDiffers),
            (there.amount != here.amount, Self::AmountDiffers),
        ];
        differs.into_iter().find_map(|(differs, kind)| differs.then_some(kind))
    }
}

impl FromStr for DifferenceKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// Compares what pay-service's statement and the credits hold of the same range of numbers. Both are
/// ordered by number, and name none twice.
pub fn compare<'a>(
    there: impl IntoIterator<Item = &'a Recharge>,
    here: impl IntoIterator<Item = &'a Credit>,
) -> Comparison {
    let (mut there, mut here) = (there.into_iter().peekable(), here.into_iter().peekable());
    let mut comparison = Comparison::default();
    loop {
        let next = match (there.peek(), here.peek()) {
            (None, None) => return comparison,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(recharge), Some(credit)) => recharge.tx_no.cmp(&credit.tx_no),
        };
        let recharge = if next.is_le() { there.next() } else { None };
        let credit = if next.is_ge() { here.next() } else { None };
        comparison.take(recharge, credit);
    }
}

impl Comparison {
    fn take(&mut self, there: Option<&Recharge>, here: Option<&Credit>) {
        let succeeded = there.filter(|recharge| recharge.status == Status::Succeeded);
        if let Some(recharge) = succeeded {
            self.totals.add_there(recharge);
        }
        if let Some(credit) = here {
            self.totals.add_here(credit);
        }
        let kind = match (there, here) {
            (Some(there), Some(here)) => DifferenceKind::between(there, here),
            (Some(_), None) => succeeded.map(|_| DifferenceKind::MissingHere),
            (None, Some(_)) => Some(DifferenceKind::NotThere),
            (None, None) => None,
        };
        let tx_no = there.map(|there| there.tx_no).or(here.map(|here| here.tx_no));
        let Some((kind, tx_no)) = kind.zip(tx_no) else { return };
        let (there, here) = (there.cloned(), here.cloned());
        self.differences.push(Difference { tx_no, kind, there, here, detail: None, exception_id: None });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::account::AccountNo;
    use super::super::credit::CreditSource;
    use super::super::money::{Amount, Currency};
    use super::*;

    type Told = (Status, u8, i64, &'static str);

    fn recharge(tx_no: u128, (status, account, amount, currency): Told) -> Recharge {
        Recharge {
            tx_no: Uuid::from_u128(tx_no),
            merchant: "account-service".into(),
            merchant_order_no: format!("order-{tx_no}"),
            account_no: AccountNo::parse(format!("A{account}")).expect("a number"),
            amount: Amount::new(amount).expect("an amount"),
            currency: currency.parse().expect("a code"),
            status,
        }
    }

    fn credit(tx_no: u128, told: Told) -> Credit {
        let Recharge { tx_no, merchant_order_no, account_no, amount, currency, .. } = recharge(tx_no, told);
        let (source, credited_at) = (CreditSource::Webhook, DateTime::UNIX_EPOCH);
        Credit {
            tx_no,
            account_no,
            amount,
            currency,
            source,
            event_id: None,
            credited_at,
            merchant_order_no: Some(merchant_order_no),
            credited_despite: None,
        }
    }

    fn kinds(comparison: &Comparison) -> Vec<(u128, DifferenceKind)> {
        comparison.differences.iter().map(|d| (d.tx_no.as_u128(), d.kind)).collect()
    }

    #[test]
    fn each_kind_of_difference_is_told_by_its_name_and_both_sides_are_summed_up() {
        use DifferenceKind::*;
        let equal = (Status::Succeeded, 1, 10, "CNY");
        let there = [
            recharge(1, equal),
            recharge(2, equal),
            recharge(3, (Status::Pending, 1, 10, "CNY")),
            recharge(5, (Status::Closed, 2, 10, "CNY")),
            recharge(6, (Status::Succeeded, 2, 11, "USD")),
            recharge(7, (Status::Succeeded, 1, 11, "USD")),
            recharge(8, (Status::Succeeded, 1, 11, "CNY")),
            recharge(9, (Status::Failed, 1, 10, "CNY")),
        ];
        let here = [1, 4, 5, 6, 7, 8].map(|tx_no| credit(tx_no, equal));
        let comparison = compare(&there, &here);
        let expected = [
            (2, MissingHere),
            (4, NotThere),
            (5, NotSucceededThere),
            (6, AccountDiffers),
            (7, CurrencyDiffers),
            (8, AmountDiffers),
        ];
        assert_eq!(kinds(&comparison), expected);
        let sums = comparison.totals.iter().map(|(code, sides)| {
            (code.to_string(), sides.there.count, sides.there.amount, sides.here.count, sides.here.amount)
        });
        assert_eq!(sums.collect::<Vec<_>>(), [("CNY".into(), 3, 31, 6, 60), ("USD".into(), 2, 22, 0, 0)]);
    }

    fn side() -> impl Strategy<Value = BTreeMap<u128, Told>> {
        let statuses =
            [Status::Succeeded, Status::Succeeded, Status::Pending, Status::Failed, Status::Closed];
        let told = (
            proptest::sample::select(statuses.to_vec()),
            0..3_u8,
            1..3_i64,
            proptest::sample::select(vec!["CNY", "USD"]),
        );
        proptest::collection::btree_map(0..40_u128, told, 0..30)
    }

    /// The same by maps and one look at each number: what the two sides say of it.
    fn naive(there: &BTreeMap<u128, Told>, here: &BTreeMap<u128, Told>) -> Vec<(u128, DifferenceKind)> {
        let numbers: BTreeSet<u128> = there.keys().chain(here.keys()).copied().collect();
        let kind = |tx_no: &u128| match (there.get(tx_no), here.get(tx_no)) {
            (Some((Status::Succeeded, ..)), None) => Some(DifferenceKind::MissingHere),
            (None, Some(_)) => Some(DifferenceKind::NotThere),
            (Some(there), Some(here)) if there.0 == Status::Succeeded => {
                if there.1 != here.1 {
                    Some(DifferenceKind::AccountDiffers)
                } else if there.3 != here.3 {
                    Some(DifferenceKind::CurrencyDiffers)
                } else {
                    (there.2 != here.2).then_some(DifferenceKind::AmountDiffers)
                }
            }
            (Some(_), Some(_)) => Some(DifferenceKind::NotSucceededThere),
            _ => None,
        };
        numbers.iter().filter_map(|tx_no| Some((*tx_no, kind(tx_no)?))).collect()
    }

    fn sums<'a>(side: impl Iterator<Item = &'a Told>) -> BTreeMap<&'a str, (u64, i128)> {
        let mut sums = BTreeMap::new();
        for (_, _, amount, currency) in side {
            let sum: &mut (u64, i128) = sums.entry(*currency).or_default();
            *sum = (sum.0 + 1, sum.1 + i128::from(*amount));
        }
        sums
    }

    proptest! {
        #[test]
        fn the_merge_of_two_lists_finds_what_maps_find(there in side(), here in side()) {
            let recharges: Vec<Recharge> = there.iter().map(|(tx_no, told)| recharge(*tx_no, *told)).collect();
            let credits: Vec<Credit> = here.iter().map(|(tx_no, told)| credit(*tx_no, *told)).collect();
            let comparison = compare(&recharges, &credits);
            prop_assert_eq!(kinds(&comparison), naive(&there, &here));
            let of = |currency: &str| {
                let code: Currency = currency.parse().expect("a code");
                comparison.totals.iter().find(|(c, _)| **c == code).map(|(_, s)| *s).unwrap_or_default()
            };
            let there = sums(there.values().filter(|told| told.0 == Status::Succeeded));
            let here = sums(here.values());
            for currency in ["CNY", "USD"] {
                let found = of(currency);
                let (there, here) = (there.get(currency).copied(), here.get(currency).copied());
                prop_assert_eq!((found.there.count, found.there.amount), there.unwrap_or_default());
                prop_assert_eq!((found.here.count, found.here.amount), here.unwrap_or_default());
            }
        }
    }
}
