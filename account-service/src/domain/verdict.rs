//! What a result means for the account it names.

use uuid::Uuid;

use super::account::Account;
use super::credit::Credit;
use super::exception::ExceptionKind;
use super::money::Currency;
use super::recharge::{Recharge, Status};
use super::request::{Contradiction, Request, RequestState};

/// What became of one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Credited now.
    Credited(Credit),
    /// Credited before, by the very same recharge.
    Already(Credit),
    /// Nothing to credit (pending, failed, closed); a request it answers knows now.
    Noted,
    /// Can't be credited: no balance was changed, and an exception is kept of it.
    Refused(Refusal),
}

/// Why a result can't be credited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No account has that number.
    #[error("there is no such account")]
    UnknownAccount,
    /// The account holds another currency.
    #[error("the account holds {0}, not this currency")]
    CurrencyMismatch(Currency),
    /// It is not what this service asked for.
    #[error(transparent)]
    ContradictsRequest(#[from] Contradiction),
    /// The same `tx_no` was credited with another account, amount or currency, or is told to have failed.
    #[error("this tx_no was already credited differently")]
    ContradictsCredit,
    /// The order is credited already, under this other `tx_no`.
    #[error("its order is credited already, as tx_no {0}")]
    OrderCreditedAlready(Uuid),
    /// The balance would leave the range that can be stored.
    #[error("the balance would become too large")]
    Overflow,
}

impl Refusal {
    /// Whether the same result may be credited at another time: accounts are opened and change,
    /// what was recorded before stays.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::UnknownAccount | Self::CurrencyMismatch(_) | Self::Overflow => true,
            Self::ContradictsRequest(_) | Self::ContradictsCredit | Self::OrderCreditedAlready(_) => false,
        }
    }

    /// The exception that is kept of it.
    pub fn kind(&self) -> ExceptionKind {
        match self {
            Self::UnknownAccount => ExceptionKind::UnknownAccount,
            Self::CurrencyMismatch(_) => ExceptionKind::CurrencyMismatch,
            Self::ContradictsRequest(_) => ExceptionKind::ContradictsRequest,
            Self::ContradictsCredit => ExceptionKind::ContradictsCredit,
            Self::OrderCreditedAlready(_) => ExceptionKind::OrderCreditedAlready,
            Self::Overflow => ExceptionKind::Overflow,
        }
    }
}

/// What is to be done about a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Credit the account, which then has this balance.
    Credit { balance: i64 },
    /// It was credited before.
    Already(Credit),
    /// There is nothing to credit.
    Note,
}

/// The part of the books that a result meets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Met<'a> {
    /// The account it names.
    pub(super) account: Option<&'a Account>,
    /// The request it answers.
    pub(super) request: Option<&'a Request>,
    /// The credit of its `tx_no`.
    pub(super) credit: Option<&'a Credit>,
    /// The credit of its order, under another `tx_no`.
    pub(super) of_order: Option<&'a Credit>,
}

/// Judges `recharge` against what it meets; with the state that its request has afterwards. A second
/// `tx_no` of a credited order is refused before anything else is asked of it.
pub(super) fn judge(recharge: &Recharge, met: Met<'_>) -> Result<(Decision, Option<RequestState>), Refusal> {
    let Met { account, request, credit, of_order } = met;
    if let Some(credit) = credit {
        return judge_again(recharge, credit).map(|decision| (decision, None));
    }
    if let Some(first) = of_order.filter(|_| recharge.status == Status::Succeeded) {
        return Err(Refusal::OrderCreditedAlready(first.tx_no));
    }
    let learnt = request.map(|request| request.learn(recharge)).transpose()?;
    if recharge.status != Status::Succeeded {
        return Ok((Decision::Note, learnt));
    }
    Ok((Decision::Credit { balance: credit_to(account, recharge)? }, learnt))
}

/// The balance that `account` has when `recharge` is credited to it.
pub(super) fn credit_to(account: Option<&Account>, recharge: &Recharge) -> Result<i64, Refusal> {
    let account = account.ok_or(Refusal::UnknownAccount)?;
    if account.currency != recharge.currency {
        return Err(Refusal::CurrencyMismatch(account.currency));
    }
    account.balance.checked_add(recharge.amount.minor_units()).ok_or(Refusal::Overflow)
}

fn judge_again(recharge: &Recharge, credit: &Credit) -> Result<Decision, Refusal> {
    match recharge.status {
        _ if !credit.agrees_with(recharge) => Err(Refusal::ContradictsCredit),
        Status::Succeeded => Ok(Decision::Already(credit.clone())),
        Status::Pending => Ok(Decision::Note),
        Status::Failed | Status::Closed => Err(Refusal::ContradictsCredit),
    }
}
