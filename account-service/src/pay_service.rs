//! pay-service as this service sees it. Whatever goes wrong on the way is told as unknown, never
//! as a result (law 9).

mod client;

use async_trait::async_trait;
use runtime::validation::FieldError;
use uuid::Uuid;

pub use self::client::{BadKey, HttpPayService};
use crate::domain::{Contradiction, Recharge, Request};
use crate::wire::NotARecharge;

/// What is asked of pay-service.
#[async_trait]
pub trait PayService: Send + Sync + 'static {
    /// Asks for a recharge. Repeating it is safe: the request's number makes it one recharge.
    async fn create(&self, request: &Request) -> Result<Recharge, NotCreated>;

    /// Asks how a recharge stands; `None` when pay-service knows no such recharge.
    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Recharge>, Unanswered>;
}

/// Why there is no recharge to tell of.
#[derive(Debug, thiserror::Error)]
pub enum NotCreated {
    /// pay-service has refused it; there is none.
    #[error("pay-service refused the recharge")]
    Refused(Vec<FieldError>),
    /// There may or may not be one.
    #[error(transparent)]
    Unknown(#[from] Unanswered),
}

/// pay-service did not answer the question; nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No connection, no answer in time, or one that broke off.
    #[error("pay-service does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// An answer that says nothing about the recharge: 5xx, a redirect, a key that was not taken.
    #[error("pay-service answered with status {0}")]
    Status(u16),
    /// The answer is longer than any recharge.
    #[error("pay-service's answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is no recharge.
    #[error("pay-service's answer can't be read")]
    Nonsense(#[from] NotARecharge),
    /// The answer is about something that was not asked.
    #[error("pay-service answered about another {0}")]
    Another(&'static str),
}

impl From<Contradiction> for Unanswered {
    fn from(Contradiction(part): Contradiction) -> Self {
        Self::Another(part)
    }
}
