//! A recharge as pay-service tells of it: the parts that matter for crediting.

use std::str::FromStr;

use uuid::Uuid;

use super::account::AccountNo;
use super::money::{Amount, Currency};

/// How a recharge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not decided.
    Pending,
    /// Paid. Final.
    Succeeded,
    /// Not paid. Final.
    Failed,
    /// Given up before it was paid. Final.
    Closed,
}

/// A word that none of ours is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a known word here", runtime::repeated::name(.0))]
pub struct UnknownWord(pub String);

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Succeeded, Self::Failed, Self::Closed];

    /// The word for it everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "pending" => Ok(Self::Pending),
            "succeeded" => Ok(Self::Succeeded),
            "failed" => Ok(Self::Failed),
            "closed" => Ok(Self::Closed),
            _ => Err(UnknownWord(word.to_owned())),
        }
    }
}

/// A recharge that pay-service told of, by itself or when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recharge {
    /// pay-service's number for it.
    pub tx_no: Uuid,
    /// Whose recharge it is.
    pub merchant: String,
    /// The merchant's number for it. Requests made here have a uuid; others' may be any text.
    pub merchant_order_no: String,
    /// The account to credit.
    pub account_no: AccountNo,
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
    /// How it stands.
    pub status: Status,
}

impl Recharge {
    /// The parts of it that are known here, as JSON.
    pub(crate) fn to_json(&self) -> Box<str> {
        let parts = serde_json::json!({
            "tx_no": self.tx_no,
            "merchant": self.merchant,
            "merchant_order_no": self.merchant_order_no,
            "account_no": self.account_no.as_str(),
            "amount": self.amount.minor_units(),
            "currency": self.currency.as_str(),
            "status": self.status.as_str(),
        });
        parts.to_string().into()
    }

    /// The merchant's number for it, where it can be kept as text; pay-service takes no other.
    pub fn storable_order(&self) -> Option<&str> {
        let number = self.merchant_order_no.as_str();
        (number.len() <= 64 && !number.chars().any(char::is_control)).then_some(number)
    }

    /// The request it may answer: ours are numbered by uuids, written in the usual form.
    pub fn order(&self) -> Option<Uuid> {
        Uuid::try_parse(&self.merchant_order_no).ok().filter(|id| id.to_string() == self.merchant_order_no)
    }
}
