//! Accounts, credits, requests, exceptions, and what a recharge's result does to them. Pure.

mod account;
mod arrival;
mod audit;
mod credit;
mod days;
mod difference;
mod exception;
mod exception_book;
mod ledger;
mod money;
mod nightly;
mod period;
mod recharge;
mod reconciliation;
mod recorded;
mod request;
mod requeue;
mod resolve;
mod standing;
mod stretch;
mod sweep;
mod totals;
mod verdict;

pub use account::{Account, AccountNo, NewAccount, Opened};
pub use arrival::Arrival;
pub use audit::{Audit, Difference as AuditDifference, Total as AuditTotal};
pub use credit::{Credit, CreditSource};
pub use days::{DayState, MOST_DAYS_BACK, Reconciled, UnfinishedDay, UnreconciledDays};
pub use difference::{Comparison, Difference, DifferenceKind, KeptDifference, compare};
pub use exception::{
    BY_ITSELF, Exception, ExceptionFilter, ExceptionKind, ExceptionState, Incident, Outcome, Resolution,
    StateName,
};
pub use ledger::{Books, Changes, Ledger};
pub use money::{Amount, Currency};
pub use nightly::{Nightly, NotNightly};
pub(crate) use period::OVER_FOR;
pub use period::Period;
pub use recharge::{Recharge, Status, UnknownWord};
pub use reconciliation::{Cancellation, Ended, Origin, Progress, Reconciliation, ReconciliationState};
pub use request::{Contradiction, Request, RequestState};
pub use requeue::Requeue;
pub use resolve::{Action, CantResolve, Resolve};
pub use standing::Standing;
pub use stretch::{Findings, Side, Stretch};
pub use sweep::{DueRequest, Heard, MAX_PAUSE, NextAsk, first_ask};
pub use totals::{Sides, Sum, Totals};
pub use verdict::{Refusal, Verdict};
