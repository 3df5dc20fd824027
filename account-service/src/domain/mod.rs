//! Accounts, credits, requests, exceptions, and what a recharge's result does to them. Pure.

mod account;
mod arrival;
mod audit;
mod credit;
mod exception;
mod exception_book;
mod ledger;
mod money;
mod recharge;
mod recorded;
mod request;
mod requeue;
mod resolve;
mod standing;
mod sweep;
mod verdict;

pub use account::{Account, AccountNo, NewAccount, Opened};
pub use arrival::Arrival;
pub use audit::{Audit, Difference as AuditDifference, Total as AuditTotal};
pub use credit::{Credit, CreditSource};
pub use exception::{
    Exception, ExceptionFilter, ExceptionKind, ExceptionState, Incident, Outcome, Resolution, StateName,
};
pub use ledger::{Books, Changes, Ledger};
pub use money::{Amount, Currency};
pub use recharge::{Recharge, Status, UnknownWord};
pub use request::{Contradiction, Request, RequestState};
pub use requeue::Requeue;
pub use resolve::{Action, CantResolve, Resolve};
pub use standing::Standing;
pub use sweep::{DueRequest, Heard, NextAsk, first_ask};
pub use verdict::{Refusal, Verdict};
