//! A reconciliation: the walk along pay-service's statement and the credits of one period.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::difference::DifferenceKind;
use super::period::{Period, time_of};
use super::recharge::UnknownWord;
use super::stretch::{Findings, Stretch};
use super::sweep::{delta, pause};
use super::totals::Totals;

/// One reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Its id, by which reconciliations are ordered in time.
    pub id: Uuid,
    /// The period that it is about.
    pub period: Period,
    /// Why it is done.
    pub origin: Origin,
    /// Who asked for it.
    pub asked_by: String,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// How far it has come.
    pub progress: Progress,
    /// How it stands.
    pub state: ReconciliationState,
    /// When it was found to have been begun by a clock that was ahead: it does not count, and its day is
    /// reconciled again.
    pub voided_at: Option<DateTime<Utc>>,
}

/// Why a reconciliation is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody asked for it.
    Asked,
    /// A day is over. There is one of each day, those that are void aside.
    Nightly,
}

/// How a reconciliation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconciliationState {
    /// It goes on.
    Running {
        /// When its next stretch is due.
        due_at: DateTime<Utc>,
        /// How often in a row pay-service has not answered.
        failures: u32,
        /// What it said last instead.
        last_error: Option<String>,
    },
    /// Both sides were compared to the end of the period.
    Finished {
        /// When.
        at: DateTime<Utc>,
    },
    /// A person has ended it before that.
    Cancelled {
        /// Who, when and why.
        cancellation: Cancellation,
        /// What pay-service said last instead of an answer, if it did not answer.
        last_error: Option<String>,
    },
}

/// Who ended a reconciliation, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Whose key it was.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, where that was said.
    pub reason: Option<String>,
}

/// The reconciliation does not go on any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reconciliation is {0} already")]
pub struct Ended(pub &'static str);

/// How far a reconciliation has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last number up to which both sides were compared; `None` before the first.
    pub after: Option<Uuid>,
    /// How many stretches were compared.
    pub pages: u64,
    /// How many recharges the statement held of them, whatever their status.
    pub recharges: u64,
    /// Both sides summed up.
    pub totals: Totals,
    /// How many differences of each kind; kinds without any are left out.
    pub differences: BTreeMap<DifferenceKind, u64>,
}

impl Reconciliation {
    /// A reconciliation that is due at once.
    pub fn new(id: Uuid, period: Period, origin: Origin, asked_by: String, now: DateTime<Utc>) -> Self {
        let state = ReconciliationState::Running { due_at: now, failures: 0, last_error: None };
        Self {
            id,
            period,
            origin,
            asked_by,
            asked_at: now,
            progress: Progress::default(),
            state,
            voided_at: None,
        }
    }

    /// Up to which time of creation both sides were compared.
    pub fn compared_to(&self) -> DateTime<Utc> {
        match self.state {
            ReconciliationState::Finished { .. } => self.period.to,
            ReconciliationState::Running { .. } | ReconciliationState::Cancelled { .. } => {
                self.progress.after.and_then(time_of).unwrap_or(self.period.from)
            }
        }
    }

    /// Moves past a stretch.
    pub fn advance(&mut self, stretch: &Stretch, findings: &Findings, now: DateTime<Utc>) {
        let progress = &mut self.progress;
        progress.after = stretch.last.or(progress.after);
        progress.pages += 1;
        progress.recharges += stretch.there.len() as u64;
        progress.totals.add_all(&findings.totals);
        for difference in &findings.differences {
            *progress.differences.entry(difference.kind).or_default() += 1;
        }
        self.state = match stretch.last {
            None => ReconciliationState::Finished { at: now },
            Some(_) => ReconciliationState::Running { due_at: now, failures: 0, last_error: None },
        };
    }

    /// Puts the next stretch off, since pay-service did not answer, or not what it was asked. Nothing
    /// else changes: that costs time, never a result. `lot`, between 0 and 1, spreads processes.
    pub fn put_off(&mut self, error: String, now: DateTime<Utc>, lot: f64) {
        let ReconciliationState::Running { due_at, failures, last_error } = &mut self.state else { return };
        *failures = failures.saturating_add(1);
        *due_at = now + delta(pause(*failures, lot));
        *last_error = Some(error);
    }

    /// Ends it where it stands; what it has done stays done.
    pub fn cancel(&mut self, cancellation: Cancellation) -> Result<(), Ended> {
        let ReconciliationState::Running { last_error, .. } = &mut self.state else {
            return Err(Ended(self.state.as_str()));
        };
        let last_error = last_error.take();
        self.state = ReconciliationState::Cancelled { cancellation, last_error };
        Ok(())
    }

    /// Whether it has come to the end.
    pub fn is_finished(&self) -> bool {
        self.state.finished_at().is_some()
    }
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Asked, Self::Nightly];

    /// The word for it in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Nightly => "nightly",
        }
    }
}

impl std::str::FromStr for Origin {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|origin| origin.as_str() == word);
        known.ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

impl ReconciliationState {
    /// What [`ReconciliationState::as_str`] says of each.
    pub const WORDS: [&'static str; 3] = ["running", "finished", "cancelled"];

    /// The word for it in the database and in answers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Finished { .. } => "finished",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// When its next stretch is due; `None` when there is none.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Running { due_at, .. } => Some(*due_at),
            Self::Finished { .. } | Self::Cancelled { .. } => None,
        }
    }

    /// When it came to the end.
    pub fn finished_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Running { .. } | Self::Cancelled { .. } => None,
            Self::Finished { at } => Some(*at),
        }
    }
}
