//! Exceptions: what does not fit, kept with everything that a person needs to judge it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::credit::CreditSource;
use super::recharge::{Recharge, UnknownWord};

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExceptionKind {
    /// A result for an account that does not exist.
    UnknownAccount,
    /// A result in another currency than the account's.
    CurrencyMismatch,
    /// A result that is not what this service asked for.
    ContradictsRequest,
    /// A result that is not what was credited.
    ContradictsCredit,
    /// A second `tx_no` of an order that is credited already.
    OrderCreditedAlready,
    /// A result that would make the balance too large.
    Overflow,
    /// pay-service knows nothing of a recharge that it took, or that was credited.
    NotAtPayService,
    /// pay-service knows nothing of a request after the whole ladder: it never took it.
    NotTaken,
    /// pay-service answered with something else than what it was asked for.
    WrongAnswer,
}

/// How an exception stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExceptionState {
    /// It waits for a person.
    Open,
    /// It is done with.
    Resolved(Resolution),
}

/// What became of an exception, who decided it, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What became of it.
    pub outcome: Outcome,
    /// `operator`, or `BY_ITSELF`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Who resolves exceptions whose cause went away.
pub const BY_ITSELF: &str = "account-service";

/// The ways in which an exception ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A person had the result credited as it was told.
    Credited,
    /// A person decided that nothing is to be done.
    Dismissed,
    /// Its cause went away by itself.
    Closed,
}

/// One exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Its id, by which exceptions are ordered in time.
    pub id: Uuid,
    /// What happened, as it was told first.
    pub incident: Incident,
    /// The last that was told otherwise than the first.
    pub contradiction: Option<Box<str>>,
    /// What the books held then: account, request and credit, as JSON.
    pub recorded: Box<str>,
    /// When it was told first.
    pub first_seen: DateTime<Utc>,
    /// When it was told last.
    pub last_seen: DateTime<Utc>,
    /// How often it was told.
    pub count: u64,
    /// How it stands.
    pub state: ExceptionState,
}

/// Something that does not fit, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// What it is about: the `tx_no`, or the number of a request that has none.
    pub subject: Uuid,
    /// What does not fit.
    pub kind: ExceptionKind,
    /// pay-service's number for the recharge, where it is known.
    pub tx_no: Option<Uuid>,
    /// The merchant's number for it, where it is known.
    pub merchant_order_no: Option<String>,
    /// How it came.
    pub source: CreditSource,
    /// The event that told it.
    pub event_id: Option<String>,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// What was told, as JSON.
    pub received: Option<Box<str>>,
    /// The same, as far as it is a recharge.
    pub result: Option<Recharge>,
}

/// Which exceptions are listed; `None` means all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExceptionFilter {
    /// Those in this state.
    pub state: Option<StateName>,
    /// Those of this kind.
    pub kind: Option<ExceptionKind>,
    /// Those about this recharge.
    pub tx_no: Option<Uuid>,
}

/// A state without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateName {
    /// See [`ExceptionState::Open`].
    Open,
    /// See [`Outcome`].
    Resolved(Outcome),
}

impl ExceptionKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::UnknownAccount,
        Self::CurrencyMismatch,
        Self::ContradictsRequest,
        Self::ContradictsCredit,
        Self::OrderCreditedAlready,
        Self::Overflow,
        Self::NotAtPayService,
        Self::NotTaken,
        Self::WrongAnswer,
    ];

    /// The word for it in the database, in answers and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown_account",
            Self::CurrencyMismatch => "currency_mismatch",
            Self::ContradictsRequest => "contradicts_request",
            Self::ContradictsCredit => "contradicts_credit",
            Self::OrderCreditedAlready => "order_credited_already",
            Self::Overflow => "overflow",
            Self::NotAtPayService => "not_at_pay_service",
            Self::NotTaken => "not_taken",
            Self::WrongAnswer => "wrong_answer",
        }
    }
}

impl ExceptionKind {
    /// Whether it is about a result that was refused.
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::NotAtPayService | Self::NotTaken | Self::WrongAnswer)
    }
}

impl std::str::FromStr for ExceptionKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl StateName {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Open,
        Self::Resolved(Outcome::Credited),
        Self::Resolved(Outcome::Dismissed),
        Self::Resolved(Outcome::Closed),
    ];

    /// The word for it in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved(Outcome::Credited) => "credited",
            Self::Resolved(Outcome::Dismissed) => "dismissed",
            Self::Resolved(Outcome::Closed) => "closed",
        }
    }
}

impl std::str::FromStr for StateName {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == word);
        known.ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl Exception {
    /// Whether it waits for a person.
    pub fn is_open(&self) -> bool {
        self.state == ExceptionState::Open
    }

    /// Its state's name.
    pub fn state_name(&self) -> StateName {
        match &self.state {
            ExceptionState::Open => StateName::Open,
            ExceptionState::Resolved(resolution) => StateName::Resolved(resolution.outcome),
        }
    }

    /// Whether `incident` tells again what was told first.
    fn tells(&self, incident: &Incident) -> bool {
        match (&self.incident.result, &incident.result) {
            (Some(first), Some(now)) => first == now,
            (None, None) => self.incident.received == incident.received,
            _ => false,
        }
    }

    /// Takes `incident` as one more arrival of the same. An open one takes all that its subject and
    /// kind bring; one that a person has judged takes what that judgement was about, so that a
    /// repetition does not ask the person again.
    pub(super) fn repeat(&mut self, incident: &Incident, now: DateTime<Utc>) -> bool {
        let same = self.tells(incident);
        let judged = match &self.state {
            ExceptionState::Open => true,
            ExceptionState::Resolved(resolution) => resolution.outcome != Outcome::Closed && same,
        };
        if judged {
            self.count = self.count.saturating_add(1);
            self.last_seen = self.last_seen.max(now);
            if !same {
                self.contradiction.clone_from(&incident.received);
            }
        }
        judged
    }

    /// Ends it, if it is open.
    pub(super) fn resolve(&mut self, resolution: Resolution) -> bool {
        let open = self.is_open();
        if open {
            self.state = ExceptionState::Resolved(resolution);
        }
        open
    }
}
