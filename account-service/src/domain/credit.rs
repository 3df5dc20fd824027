//! Credits: money that reached an account, once per `tx_no`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::account::AccountNo;
use super::money::{Amount, Currency};
use super::recharge::{Recharge, UnknownWord};

/// How the account-service came to know of a result, or of something that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditSource {
    /// The notifier rang.
    Webhook,
    /// The queue held it.
    Queue,
    /// Somebody asked here, and pay-service was asked in turn.
    Query,
    /// Nothing was heard of a request, so pay-service was asked.
    Sweep,
    /// pay-service's statement holds it.
    Statement,
    /// A person decided so, about an exception.
    Exception,
    /// pay-service answered it to the request for the recharge, which credits nothing.
    Request,
}

impl CreditSource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Webhook,
        Self::Queue,
        Self::Query,
        Self::Sweep,
        Self::Statement,
        Self::Exception,
        Self::Request,
    ];

    /// The word for it in the database, in answers and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Queue => "queue",
            Self::Query => "query",
            Self::Sweep => "sweep",
            Self::Statement => "statement",
            Self::Exception => "exception",
            Self::Request => "request",
        }
    }

    /// Whether pay-service was asked and answered it just now.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Query | Self::Sweep | Self::Statement | Self::Request)
    }
}

impl std::str::FromStr for CreditSource {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|source| source.as_str() == word);
        known.ok_or_else(|| UnknownWord(word.to_owned()))
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
    /// The merchant's number of the order that was paid. `None` for a number that pay-service would not
    /// take, and for a credit of an earlier version until its result is received again.
    pub merchant_order_no: Option<String>,
    /// The order's other credit, where an operator credited this one despite it. Of the others, each
    /// order has one.
    pub credited_despite: Option<Uuid>,
}

impl Credit {
    /// As it is kept and shown beside what does not fit.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "tx_no": self.tx_no,
            "account_no": self.account_no.as_str(),
            "amount": self.amount.minor_units(),
            "currency": self.currency.as_str(),
            "source": self.source.as_str(),
            "event_id": self.event_id,
            "credited_at": self.credited_at,
            "merchant_order_no": self.merchant_order_no,
            "credited_despite": self.credited_despite,
        })
    }

    /// Whether `recharge` is the one that was credited here, to the last fen.
    pub fn agrees_with(&self, recharge: &Recharge) -> bool {
        self.tx_no == recharge.tx_no
            && self.account_no == recharge.account_no
            && self.amount == recharge.amount
            && self.currency == recharge.currency
    }
}
