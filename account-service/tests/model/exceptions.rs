//! What the model keeps of what does not fit.

use uuid::Uuid;

use super::command::Final;
use super::model::Model;
use super::pay_service::{State, Told};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    UnknownAccount,
    CurrencyMismatch,
    ContradictsRequest,
    ContradictsCredit,
    OrderCreditedAlready,
    NotAtPayService,
    NotTaken,
    WrongAnswer,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown_account",
            Self::CurrencyMismatch => "currency_mismatch",
            Self::ContradictsRequest => "contradicts_request",
            Self::ContradictsCredit => "contradicts_credit",
            Self::OrderCreditedAlready => "order_credited_already",
            Self::NotAtPayService => "not_at_pay_service",
            Self::NotTaken => "not_taken",
            Self::WrongAnswer => "wrong_answer",
        }
    }

    /// Whether the queue tries again, since accounts change.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::UnknownAccount | Self::CurrencyMismatch)
    }
}

/// An exception.
#[derive(Debug, Clone)]
pub struct Kept {
    pub subject: Uuid,
    pub kind: Kind,
    /// What was told first, where it was a result.
    pub result: Option<Told>,
    /// The same where it was none, as far as it could be read.
    pub received: Option<String>,
    /// Whether it was told otherwise since.
    pub contradicted: bool,
    pub count: u64,
    pub state: &'static str,
}

impl Model {
    pub fn refuse(&mut self, kind: Kind, told: &Told) {
        self.keep(told.tx, kind, Some(told.clone()), None);
    }

    /// One more arrival of the open one; of the one that a person has judged, if it is the very
    /// same; else a new one.
    pub fn keep(&mut self, subject: Uuid, kind: Kind, result: Option<Told>, received: Option<String>) {
        let mut alike: Vec<&mut Kept> =
            self.exceptions.iter_mut().filter(|kept| (kept.subject, kept.kind) == (subject, kind)).collect();
        alike.sort_by_key(|kept| kept.state != "open");
        let known = alike.into_iter().find_map(|kept| {
            let same = (&kept.result, &kept.received) == (&result, &received);
            (kept.state == "open" || (same && kept.state != "closed")).then_some((kept, same))
        });
        if let Some((kept, same)) = known {
            kept.count += 1;
            // What is told otherwise without a word leaves none.
            kept.contradicted = if same { kept.contradicted } else { result.is_some() || received.is_some() };
            return;
        }
        let (contradicted, count, state) = (false, 1, "open");
        self.exceptions.push(Kept { subject, kind, result, received, contradicted, count, state });
    }

    /// Something is heard of it, perhaps in `answer` to a question.
    pub fn close_heard_of(&mut self, subjects: &[Uuid], answer: bool) {
        self.close(|kept| {
            let gone = match kept.kind {
                Kind::NotTaken => true,
                Kind::NotAtPayService | Kind::WrongAnswer => answer,
                _ => false,
            };
            gone && subjects.contains(&kept.subject)
        });
    }

    /// What was told is credited, so nobody need judge it.
    pub fn close_credited(&mut self, tx: Uuid) {
        let credit = self.credits[&tx].clone();
        let credited = |told: &Told| {
            told.state == State::Final(Final::Succeeded)
                && (told.account, told.amount, told.dollars)
                    == (credit.account, credit.amount, credit.dollars)
        };
        self.close(|kept| {
            kept.subject == tx
                && !matches!(kept.kind, Kind::ContradictsCredit | Kind::OrderCreditedAlready)
                && !kept.contradicted
                && kept.result.as_ref().is_some_and(credited)
        });
    }

    /// A person had it credited although its order is.
    pub fn close_despite(&mut self, tx: Uuid) {
        self.close(|kept| (kept.subject, kept.kind) == (tx, Kind::OrderCreditedAlready));
    }

    fn close(&mut self, gone: impl Fn(&Kept) -> bool) {
        for kept in self.exceptions.iter_mut().filter(|kept| kept.state == "open" && gone(kept)) {
            kept.state = "closed";
        }
    }
}
