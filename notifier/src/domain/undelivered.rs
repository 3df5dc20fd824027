//! What of a subscription is not delivered: since when, and how much money it is about.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::event::data_of;

/// Of so many notifications that wait, and of so many that are exhausted, the amounts are added up: the oldest.
pub const MAX_SUMMED: u32 = 1_000;
/// Larger bodies are not looked into.
pub const MAX_BODY: i64 = 16 * 1024;

/// What is not delivered: pending, delivering, held and exhausted notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// When the oldest came in.
    pub oldest_at: Option<DateTime<Utc>>,
    /// What they are about in each currency, in minor units.
    pub amounts: BTreeMap<String, i128>,
    /// Whether there may be more than was added up.
    pub capped: bool,
}

/// The fields of an event's data that say how much money it is about.
#[derive(Deserialize)]
struct Money {
    amount: i64,
    currency: String,
}

impl Undelivered {
    /// Notes one that came in at `at`.
    pub fn note(&mut self, at: DateTime<Utc>) {
        self.oldest_at = Some(self.oldest_at.map_or(at, |oldest| oldest.min(at)));
    }

    /// Adds the amount of a webhook's body; `None`: it is too large.
    pub fn add(&mut self, body: Option<&str>) {
        let Some(body) = body else {
            self.capped = true;
            return;
        };
        if let Some(Money { amount, currency }) = money(body) {
            let sum = self.amounts.entry(currency).or_default();
            *sum = sum.saturating_add(amount.into());
        }
    }
}

/// What `data` says, where it is an object with an integer `amount` and a `currency` of three capital letters.
fn money(body: &str) -> Option<Money> {
    let money: Money = serde_json::from_str(data_of(body)?.get()).ok()?;
    let is_code = money.currency.len() == 3 && money.currency.bytes().all(|b| b.is_ascii_uppercase());
    is_code.then_some(money)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_added_up_by_currency_and_anything_else_is_about_no_money() {
        let mut undelivered = Undelivered::default();
        for data in [
            r#"{"amount":1000,"currency":"CNY","attach":"\u0000"}"#,
            r#"{"currency":"CNY","amount":9223372036854775807}"#,
            r#"{"currency":"USD","amount":7}"#,
            r#"{"currency":"usd","amount":7}"#,
            r#"{"currency":"USD","amount":1.5}"#,
            r#"{"currency":"USD","amount":"1"}"#,
            r#"{"amount":5}"#,
            "[1]",
            "null",
        ] {
            let body = format!(r#"{{"type":"t","timestamp":"2026-01-01T00:00:00Z","data":{data}}}"#);
            undelivered.add(Some(&body));
        }
        let expected = [("CNY".to_owned(), 9_223_372_036_854_776_807), ("USD".to_owned(), 7)];
        assert_eq!(undelivered.amounts, expected.into());
        assert!(!undelivered.capped);
        undelivered.add(None);
        assert!(undelivered.capped);
    }
}
