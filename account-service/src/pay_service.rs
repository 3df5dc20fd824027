//! pay-service as this service sees it. Whatever goes wrong on the way is told as unknown, never
//! as a result (law 9).

mod client;
mod statement;

use async_trait::async_trait;
use runtime::problem::Chain;
use runtime::validation::FieldError;
use uuid::Uuid;

pub use self::client::{BadKey, HttpPayService};
pub use self::statement::{StatementPage, StatementQuery};
use crate::domain::{Arrival, Contradiction, CreditSource, Incident, Recharge, Refusal, Request};
use crate::wire::NotARecharge;

/// The longest explanation that is kept of a wrong answer.
const MAX_DETAIL_CHARS: usize = 300;

/// What is asked of pay-service.
#[async_trait]
pub trait PayService: Send + Sync + 'static {
    /// Asks for a recharge. Repeating it is safe: the request's number makes it one recharge.
    async fn create(&self, request: &Request) -> Result<Answer, NotCreated>;

    /// Asks how a recharge stands; `None` when pay-service knows no such recharge.
    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered>;

    /// Asks what became of an order of ours; `None` when pay-service has taken none of this number.
    async fn payresult_of_order(&self, merchant_order_no: Uuid) -> Result<Option<Answer>, Unanswered>;

    /// Asks for a page of the statement, by number.
    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered>;
}

/// A recharge as pay-service told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The recharge.
    pub recharge: Recharge,
    /// The JSON it was told in.
    pub received: Box<str>,
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
    /// The answer is longer than any that was asked for.
    #[error("pay-service's answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is no recharge.
    #[error("pay-service's answer can't be read")]
    Nonsense {
        /// Why not.
        source: NotARecharge,
        /// Its beginning, as a JSON string.
        received: Box<str>,
    },
    /// The answer is no page of a statement, or not the one that was asked for.
    #[error("pay-service's statement {0}")]
    WrongPage(String),
    /// The answer is about something that was not asked.
    #[error("pay-service answered about another {part}")]
    Another {
        /// What is different.
        part: &'static str,
        /// The JSON it came in.
        received: Box<str>,
    },
}

/// An answer that was not the one asked for: an outage heals by itself, this may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongAnswer {
    /// What is wrong with it.
    pub detail: String,
    /// What was received, as JSON.
    pub received: Option<Box<str>>,
}

impl Answer {
    /// This answer, if it is about the recharge `tx_no`.
    pub fn about(self, tx_no: Uuid) -> Result<Self, Unanswered> {
        let same = self.recharge.tx_no == tx_no;
        self.same(same, "tx_no")
    }

    /// This answer, if it is about the order `merchant_order_no`.
    pub fn about_order(self, merchant_order_no: Uuid) -> Result<Self, Unanswered> {
        let same = self.recharge.merchant_order_no == merchant_order_no.to_string();
        self.same(same, "merchant_order_no")
    }

    /// This answer, if it is about a recharge of `merchant`.
    pub fn of_merchant(self, merchant: &str) -> Result<Self, Unanswered> {
        let same = self.recharge.merchant == merchant;
        self.same(same, "merchant")
    }

    /// The exception that it is worth, since it is not what was requested.
    pub fn refused(self, contradiction: Contradiction) -> Incident {
        let refusal = Refusal::ContradictsRequest(contradiction);
        Arrival::new(self.recharge, CreditSource::Request, self.received).refused(&refusal)
    }

    /// The same as the error that the asker is told.
    pub fn contradicting(self, Contradiction(part): Contradiction) -> Unanswered {
        Unanswered::Another { part, received: self.received }
    }

    fn same(self, same: bool, part: &'static str) -> Result<Self, Unanswered> {
        if same { Ok(self) } else { Err(Unanswered::Another { part, received: self.received }) }
    }
}

impl Unanswered {
    /// What a person should see of it; `None` for an outage.
    pub fn wrong_answer(&self) -> Option<WrongAnswer> {
        let received = match self {
            Self::Unreachable(_) | Self::Status(_) => return None,
            Self::TooLong(_) | Self::WrongPage(_) => None,
            Self::Nonsense { received, .. } | Self::Another { received, .. } => Some(received.clone()),
        };
        // A reason may quote the answer, which may hold anything.
        let reason = Chain(self).to_string();
        let detail = reason.chars().filter(|c| !c.is_control()).take(MAX_DETAIL_CHARS).collect();
        Some(WrongAnswer { detail, received })
    }
}
