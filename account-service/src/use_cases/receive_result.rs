//! Reading what the notifier or the queue tells: whether it is a result, and ours to credit.

use crate::domain::{Recharge, Status};
use crate::wire::{NotARecharge, read_merchant, receive_recharge};

/// What an event tells this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A result of ours.
    Result(Recharge),
    /// Another merchant's affair, or no recharge's result: acknowledged and passed over.
    NotOurs,
}

/// An event of ours that can't be read as what its type says.
#[derive(Debug, thiserror::Error)]
pub enum NotAResult {
    /// The data is no recharge.
    #[error(transparent)]
    Recharge(#[from] NotARecharge),
    /// The data's status is not the one of the event's type.
    #[error("the status of the recharge is `{0}`, which is not what the event's type says")]
    OtherStatus(&'static str),
}

/// Reads events for one merchant.
#[derive(Debug, Clone)]
pub struct ReadResults {
    /// Whose results are credited here.
    pub merchant: String,
}

impl ReadResults {
    /// Reads an event of type `kind` with this `data`; `owner` is the merchant its envelope names.
    pub fn read(&self, kind: &str, owner: Option<&str>, data: &str) -> Result<Told, NotAResult> {
        let Some(status) = final_status(kind) else { return Ok(Told::NotOurs) };
        if owner.is_some_and(|owner| owner != self.merchant) {
            return Ok(Told::NotOurs);
        }
        if read_merchant(data.as_bytes()).is_some_and(|merchant| merchant != self.merchant) {
            return Ok(Told::NotOurs);
        }
        let recharge = receive_recharge(data.as_bytes())?;
        if recharge.status != status {
            return Err(NotAResult::OtherStatus(recharge.status.as_str()));
        }
        Ok(Told::Result(recharge))
    }
}

fn final_status(kind: &str) -> Option<Status> {
    match kind {
        "recharge.succeeded" => Some(Status::Succeeded),
        "recharge.failed" => Some(Status::Failed),
        "recharge.closed" => Some(Status::Closed),
        _ => None,
    }
}
