//! Credits: money that reached an account, once per `tx_no`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::account::AccountNo;
use super::money::{Amount, Currency};
use super::recharge::{Recharge, UnknownWord};

/// How the account-service came to know of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditSource {
    /// The notifier rang.
    Webhook,
    /// The queue held it.
    Queue,
    /// Nothing was heard, so pay-service was asked.
    Query,
}

impl CreditSource {
    /// The word for it in the database, in answers and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Queue => "queue",
            Self::Query => "query",
        }
    }
}

impl std::str::FromStr for CreditSource {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "webhook" => Ok(Self::Webhook),
            "queue" => Ok(Self::Queue),
            "query" => Ok(Self::Query),
            _ => Err(UnknownWord(word.to_owned())),
        }
    }
}

/// One credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The recharge it comes from; unique.
    pub tx_no: Uuid,
    /// Whose it is.
    pub account_no: AccountNo,
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
    /// How the result was learnt.
    pub source: CreditSource,
    /// The event that told it; `None` when pay-service was asked.
    pub event_id: Option<String>,
    /// When it was committed.
    pub credited_at: DateTime<Utc>,
}

impl Credit {
    /// Whether `recharge` is the one that was credited here, to the last fen.
    pub fn agrees_with(&self, recharge: &Recharge) -> bool {
        self.tx_no == recharge.tx_no
            && self.account_no == recharge.account_no
            && self.amount == recharge.amount
            && self.currency == recharge.currency
    }
}
