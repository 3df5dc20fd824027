//! Accounts, credits, requests, and what a recharge's result does to them. Pure.

mod account;
mod audit;
mod credit;
mod ledger;
mod money;
mod recharge;
mod request;
mod verdict;

pub use account::{Account, AccountNo, NewAccount, Opened};
pub use audit::{Audit, Difference as AuditDifference, Total as AuditTotal};
pub use credit::{Credit, CreditSource};
pub use ledger::{Arrival, Changes, Ledger};
pub use money::{Amount, Currency};
pub use recharge::{Recharge, Status, UnknownWord};
pub use request::{Contradiction, Request, RequestState};
pub use verdict::{Refusal, Verdict};
