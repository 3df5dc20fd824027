//! What a person decides about an exception.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::arrival::Arrival;
use super::credit::CreditSource;
use super::exception::{Exception, Outcome, Resolution, StateName};
use super::ledger::Ledger;
use super::recharge::Status;
use super::verdict::Refusal;

/// A decision, who took it and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// What is to be done.
    pub action: Action,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What can be done about an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Credit the result as it was received.
    Credit,
    /// The same, although the order is credited already, under this other `tx_no`.
    CreditDespite(Uuid),
    /// Nothing.
    Dismiss,
}

/// Why a decision can't be carried out. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CantResolve {
    /// It is no longer open.
    #[error("the exception is {} already", .0.as_str())]
    Resolved(StateName),
    /// It is not about a result that succeeded.
    #[error("nothing was told that could be credited: only a recharge that succeeded can be")]
    NothingToCredit,
    /// It is not clear what would be credited.
    #[error("the result was told in two ways; ask for it anew (GET /v1/payresult), or dismiss this")]
    ToldInTwoWays,
    /// It has been credited, by another result.
    #[error("this tx_no is credited already; if the credit stands, dismiss this")]
    CreditedAlready,
    /// Its order has a credit, which the decision does not name.
    #[error(
        "its order is credited already, as tx_no {0}; to credit this one too, name that tx_no as `despite`"
    )]
    OrderCreditedAlready(Uuid),
    /// The decision names a credit of the order, and there is none.
    #[error("must be left out: the order has no other credit")]
    NothingToCreditDespite,
    /// The books can't take it.
    #[error("it can't be credited: {0}")]
    Refused(Refusal),
}

impl Exception {
    /// The result that a person may have credited.
    fn creditable(&self) -> Result<Arrival, CantResolve> {
        let told = self.incident.result.clone().filter(|result| result.status == Status::Succeeded);
        let recharge = told.ok_or(CantResolve::NothingToCredit)?;
        if self.contradiction.is_some() {
            return Err(CantResolve::ToldInTwoWays);
        }
        let (event_id, received) = (self.incident.event_id.clone(), self.incident.received.clone());
        Ok(Arrival { recharge, source: CreditSource::Exception, event_id, received })
    }
}

impl Ledger {
    /// Carries out a decision about the exception `id`, which the books hold. After an error there is
    /// nothing to write.
    pub fn resolve(&mut self, id: Uuid, decision: &Resolve, now: DateTime<Utc>) -> Result<(), CantResolve> {
        let Some(exception) = self.exceptions.get(id) else { return Ok(()) };
        if !exception.is_open() {
            return Err(CantResolve::Resolved(exception.state_name()));
        }
        let despite = match decision.action {
            Action::CreditDespite(other) => Some(other),
            Action::Credit | Action::Dismiss => None,
        };
        let (outcome, credited) = match decision.action {
            Action::Dismiss => (Outcome::Dismissed, None),
            Action::Credit | Action::CreditDespite(_) => (Outcome::Credited, Some(exception.creditable()?)),
        };
        let (by, reason) = (decision.by.clone(), decision.reason.clone());
        self.exceptions.resolve(id, Resolution { outcome, by, reason, at: now });
        credited.map_or(Ok(()), |arrival| self.credit_by_hand(&arrival, despite, now))
    }
}
