//! Requests: recharges this service asked pay-service for.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::account::AccountNo;
use super::money::{Amount, Currency};
use super::recharge::{Recharge, Status};

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// Recorded; whether pay-service took it is not known (law 9).
    Unknown,
    /// pay-service has a recharge for it.
    Known {
        /// pay-service's number for it.
        tx_no: Uuid,
        /// How it stood when last heard of.
        status: Status,
    },
}

/// What is told of a request goes against what was told before; names the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} contradicts the request")]
pub struct Contradiction(pub &'static str);

impl RequestState {
    /// The state after hearing that the recharge `tx_no` stands at `status`. A final status stays:
    /// a late `pending` is passed over, another final status or another `tx_no` is refused.
    pub fn learn(self, tx_no: Uuid, status: Status) -> Result<Self, Contradiction> {
        match self {
            Self::Known { tx_no: known, .. } if known != tx_no => Err(Contradiction("tx_no")),
            Self::Unknown | Self::Known { status: Status::Pending, .. } => Ok(Self::Known { tx_no, status }),
            Self::Known { status: known, .. } if status == Status::Pending || status == known => Ok(self),
            Self::Known { .. } => Err(Contradiction("status")),
        }
    }

    /// Whether its status never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Known { status, .. } if status != Status::Pending)
    }

    /// The word for it in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Known { status, .. } => status.as_str(),
        }
    }

    /// pay-service's number, once known.
    pub fn tx_no(self) -> Option<Uuid> {
        match self {
            Self::Unknown => None,
            Self::Known { tx_no, .. } => Some(tx_no),
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Our number for it, which makes asking pay-service again safe.
    pub merchant_order_no: Uuid,
    /// The account to credit.
    pub account_no: AccountNo,
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub currency: Currency,
    /// How it is paid.
    pub channel: String,
    /// The asker's own text, carried along untouched.
    pub attach: Option<String>,
    /// How it stands.
    pub state: RequestState,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
}

impl Request {
    /// The state after `recharge` was heard of, if that is the recharge this request asked for.
    pub fn learn(&self, recharge: &Recharge) -> Result<RequestState, Contradiction> {
        let parts = [
            (recharge.merchant_order_no == self.merchant_order_no.to_string(), "merchant_order_no"),
            (recharge.account_no == self.account_no, "account_no"),
            (recharge.amount == self.amount, "amount"),
            (recharge.currency == self.currency, "currency"),
        ];
        if let Some((_, part)) = parts.into_iter().find(|(same, _)| !same) {
            return Err(Contradiction(part));
        }
        self.state.learn(recharge.tx_no, recharge.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Closed, Failed, Pending, Succeeded};

    const TX: Uuid = Uuid::from_u128(1);

    fn known(status: Status) -> RequestState {
        RequestState::Known { tx_no: TX, status }
    }

    #[test]
    fn what_is_unknown_or_pending_takes_any_status() {
        for status in [Pending, Succeeded, Failed, Closed] {
            assert_eq!(RequestState::Unknown.learn(TX, status), Ok(known(status)));
            assert_eq!(known(Pending).learn(TX, status), Ok(known(status)));
        }
    }

    #[test]
    fn a_final_status_outlives_a_late_pending_and_refuses_another_final_one() {
        for last in [Succeeded, Failed, Closed] {
            assert_eq!(known(last).learn(TX, Pending), Ok(known(last)));
            assert_eq!(known(last).learn(TX, last), Ok(known(last)));
            for other in [Succeeded, Failed, Closed].into_iter().filter(|other| *other != last) {
                assert_eq!(known(last).learn(TX, other), Err(Contradiction("status")));
            }
        }
    }

    #[test]
    fn one_request_has_one_transaction() {
        assert_eq!(known(Pending).learn(Uuid::from_u128(2), Succeeded), Err(Contradiction("tx_no")));
    }
}
