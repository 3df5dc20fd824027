//! Reconciliations of periods as they are meant: what both sides say of each number, and what follows.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::command::Final;
use super::exceptions::Kind;
use super::model::{Model, Verdict};
use super::pay_service::{State, Told, currency};
use super::statement::Page;

const SUCCEEDED: State = State::Final(Final::Succeeded);

/// How many and how much, per currency: what succeeded there, what was credited here before, and what
/// the reconciliation has credited.
pub type Sums = BTreeMap<&'static str, [(u64, i128); 3]>;

/// How the two sides differ about a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Differs {
    MissingHere,
    Refused,
    OrderCreditedAlready,
    NotSucceededThere,
    NotThere,
    Account,
    Currency,
    Amount,
}

/// A number about which the two sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub tx: Uuid,
    pub differs: Differs,
    pub there: Option<Told>,
    pub here: Option<Told>,
    /// The exception that is kept of it.
    pub exception: Option<Kind>,
}

/// A reconciliation.
#[derive(Debug, Clone)]
pub struct Walk {
    pub id: Uuid,
    /// Its first millisecond, and the first after it.
    pub period: (u64, u64),
    pub after: Option<Uuid>,
    pub pages: u64,
    pub recharges: u64,
    pub sums: Sums,
    pub found: Vec<Found>,
    /// When its next stretch is due, or its lease is over; `None` at the end.
    pub due: Option<DateTime<Utc>>,
    pub lease: Option<Uuid>,
    pub failures: u32,
}

/// Both sides up to where the one ends that was read less far.
#[derive(Debug, Clone)]
pub struct Stretch {
    pub there: Vec<Told>,
    pub here: Vec<Told>,
    /// `None` at the end of the period.
    pub last: Option<Uuid>,
}

/// What both sides come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    pub sums: Sums,
    /// By number.
    pub found: Vec<Found>,
}

impl Differs {
    pub fn word(self) -> &'static str {
        match self {
            Self::MissingHere => "missing_here",
            Self::Refused => "refused",
            Self::OrderCreditedAlready => "order_credited_already",
            Self::NotSucceededThere => "not_succeeded_there",
            Self::NotThere => "not_there",
            Self::Account => "account_differs",
            Self::Currency => "currency_differs",
            Self::Amount => "amount_differs",
        }
    }

    /// What is missing here and was refused.
    fn by(refusal: Kind) -> Self {
        match refusal {
            Kind::OrderCreditedAlready => Self::OrderCreditedAlready,
            _ => Self::Refused,
        }
    }

    fn between(there: Option<&Told>, here: Option<&Told>) -> Option<Self> {
        match (there, here) {
            (Some(there), None) => (there.state == SUCCEEDED).then_some(Self::MissingHere),
            (None, _) => Some(Self::NotThere),
            (Some(there), Some(_)) if there.state != SUCCEEDED => Some(Self::NotSucceededThere),
            (Some(there), Some(here)) if there.account != here.account => Some(Self::Account),
            (Some(there), Some(here)) if there.dollars != here.dollars => Some(Self::Currency),
            (Some(there), Some(here)) => (there.amount != here.amount).then_some(Self::Amount),
        }
    }
}

impl Stretch {
    /// Of `credits`, there may be `more` as well.
    pub fn cut(page: &Page, credits: &[Told], more: bool) -> Self {
        let end = |more: bool, rows: &[Told]| rows.last().filter(|_| more).map(|told| told.tx);
        let ends = [end(page.more, &page.rows), end(more, credits)];
        let last = ends.into_iter().flatten().min();
        let within = |told: &&Told| last.is_none_or(|last| told.tx <= last);
        let [there, here] =
            [&page.rows[..], credits].map(|rows| rows.iter().filter(within).cloned().collect());
        Self { there, here, last }
    }
}

fn add(sums: &mut Sums, told: &Told, side: usize) {
    let (count, amount) = &mut sums.entry(currency(told.dollars)).or_default()[side];
    (*count, *amount) = (*count + 1, *amount + i128::from(told.amount));
}

impl Compared {
    /// By one look at each number.
    fn of(there: &[Told], here: &[Told]) -> Self {
        let by_number = |rows: &[Told]| -> BTreeMap<Uuid, Told> {
            rows.iter().map(|told| (told.tx, told.clone())).collect()
        };
        let (there, here) = (by_number(there), by_number(here));
        let mut compared = Self::default();
        for tx in there.keys().chain(here.keys()).copied().collect::<BTreeSet<Uuid>>() {
            let (there, here) = (there.get(&tx).cloned(), here.get(&tx).cloned());
            let succeeded = there.as_ref().filter(|there| there.state == SUCCEEDED);
            if let Some(there) = succeeded {
                add(&mut compared.sums, there, 0);
            }
            if let Some(here) = &here {
                add(&mut compared.sums, here, 1);
            }
            if let Some(differs) = Differs::between(there.as_ref(), here.as_ref()) {
                compared.found.push(Found { tx, differs, there, here, exception: None });
            }
        }
        compared
    }

    /// What is missing and was not refused is credited.
    fn credited(&mut self) {
        for found in self.found.iter_mut().filter(|found| found.differs == Differs::MissingHere) {
            found.here.clone_from(&found.there);
            if let Some(there) = &found.there {
                add(&mut self.sums, there, 2);
            }
        }
    }
}

impl Model {
    /// Compares a stretch with the books as they are now, posts all that was told, and keeps what does
    /// not fit; with what became of each that was told.
    pub fn reconcile(&mut self, stretch: &Stretch) -> (Compared, Vec<Verdict>) {
        let read: BTreeSet<Uuid> = stretch.here.iter().map(|credit| credit.tx).collect();
        let since = stretch.there.iter().filter(|told| told.state != State::Pending);
        let since =
            since.filter(|told| !read.contains(&told.tx)).filter_map(|told| self.credits.get(&told.tx));
        let here: Vec<Told> = stretch.here.iter().chain(since).cloned().collect();
        let mut compared = Compared::of(&stretch.there, &here);
        let verdicts: Vec<Verdict> = stretch.there.iter().map(|told| self.told(told, true)).collect();
        let verdict_of = |tx: Uuid| verdicts[stretch.there.iter().position(|told| told.tx == tx)?].refusal();
        for found in &mut compared.found {
            let refused = verdict_of(found.tx);
            found.exception = match (found.differs, refused, &found.there) {
                (Differs::MissingHere, None, _) => None,
                (Differs::MissingHere, Some(kind), _) => {
                    found.differs = Differs::by(kind);
                    Some(kind)
                }
                (_, Some(kind), _) => Some(kind),
                (_, None, Some(there)) => {
                    self.keep(found.tx, Kind::ContradictsCredit, Some(there.clone()), None);
                    Some(Kind::ContradictsCredit)
                }
                (_, None, None) => {
                    self.keep(found.tx, Kind::NotAtPayService, None, None);
                    Some(Kind::NotAtPayService)
                }
            };
        }
        compared.credited();
        (compared, verdicts)
    }

    /// What a reconciliation of everything comes to while nothing else happens, by what `there` is and
    /// what is credited; nothing is done.
    pub fn whole(&self, there: &[Told]) -> Compared {
        let here: Vec<Told> = self.credits.values().cloned().collect();
        let mut compared = Compared::of(there, &here);
        let mut after = self.clone();
        let verdicts: BTreeMap<Uuid, Verdict> =
            there.iter().map(|told| (told.tx, after.told(told, true))).collect();
        for found in &mut compared.found {
            found.exception = match (&found.differs, &found.there) {
                (Differs::MissingHere, Some(there)) => verdicts[&there.tx].refusal(),
                (Differs::NotThere, _) => Some(Kind::NotAtPayService),
                _ => Some(Kind::ContradictsCredit),
            };
            if let (Differs::MissingHere, Some(kind)) = (found.differs, found.exception) {
                found.differs = Differs::by(kind);
            }
        }
        compared.credited();
        compared
    }

    /// The reconciliation that is due the longest, or under a lease that is.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.walks.iter().filter_map(|walk| walk.due).min()
    }
}

impl Walk {
    /// Moves past a stretch.
    pub fn advance(&mut self, stretch: &Stretch, compared: &Compared, now: DateTime<Utc>) {
        self.after = stretch.last.or(self.after);
        self.pages += 1;
        self.recharges += stretch.there.len() as u64;
        for (currency, sides) in &compared.sums {
            let sums = self.sums.entry(currency).or_default();
            for (sum, side) in sums.iter_mut().zip(sides) {
                *sum = (sum.0 + side.0, sum.1 + side.1);
            }
        }
        self.found.extend(compared.found.iter().cloned());
        (self.due, self.lease, self.failures) = (stretch.last.map(|_| now), None, 0);
    }

    /// How many differences of each kind.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for found in &self.found {
            *counts.entry(found.differs.word()).or_default() += 1;
        }
        counts
    }
}
