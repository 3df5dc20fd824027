//! A stretch of the walk along both sides: what the statement and the books hold between the same two
//! numbers, compared and put right.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::arrival::Arrival;
use super::credit::{Credit, CreditSource};
use super::difference::{Comparison, Difference, DifferenceKind, compare};
use super::exception::{ExceptionKind, Incident};
use super::ledger::Ledger;
use super::recharge::{Recharge, Status};
use super::totals::Totals;
use super::verdict::{Refusal, Verdict};

/// One side of a stretch as far as it was read, ordered by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side<T> {
    /// What was read.
    pub rows: Vec<T>,
    /// Whether there is more behind it.
    pub more: bool,
}

/// Both sides between the same two numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// What the statement holds.
    pub there: Vec<Arrival>,
    /// The credits, read before the statement was asked: what they came from had succeeded by then.
    pub here: Vec<Credit>,
    /// The last number of it; `None` when it reaches the end of the period.
    pub last: Option<Uuid>,
}

/// What a stretch has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Both sides summed up.
    pub totals: Totals,
    /// By number.
    pub differences: Vec<Difference>,
    /// What became of each recharge of the statement.
    pub verdicts: Vec<Verdict>,
}

impl Stretch {
    /// Cuts both sides where the one ends that was read less far. So neither is ever held whole,
    /// however little the two have in common.
    pub fn meet(there: Side<Arrival>, here: Side<Credit>) -> Self {
        let end = |more: bool, last: Option<Uuid>| last.filter(|_| more);
        let there_end = end(there.more, there.rows.last().map(|told| told.recharge.tx_no));
        let here_end = end(here.more, here.rows.last().map(|credit| credit.tx_no));
        let last = match (there_end, here_end) {
            (Some(there), Some(here)) => Some(there.min(here)),
            (one, other) => one.or(other),
        };
        let within = |tx_no: Uuid| last.is_none_or(|last| tx_no <= last);
        let (mut there, mut here) = (there.rows, here.rows);
        there.retain(|told| within(told.recharge.tx_no));
        here.retain(|credit| within(credit.tx_no));
        Self { there, here, last }
    }

    /// The credits that the statement does not hold.
    pub fn alone(&self) -> Vec<Uuid> {
        let there: HashSet<Uuid> = self.there.iter().map(|told| told.recharge.tx_no).collect();
        self.here.iter().map(|credit| credit.tx_no).filter(|tx_no| !there.contains(tx_no)).collect()
    }
}

impl Ledger {
    /// Compares a stretch with the books, which hold everything that it names, and puts right what can
    /// be: every recharge of the statement is posted like any result, so that what is missing is
    /// credited, once, and what contradicts is refused and kept.
    pub fn reconcile(&mut self, stretch: &Stretch, now: DateTime<Utc>) -> Findings {
        let here = self.beside(stretch);
        let Comparison { mut totals, mut differences } =
            compare(stretch.there.iter().map(|told| &told.recharge), &here);
        let verdicts = self.post_all(&stretch.there, now);
        let told: HashMap<Uuid, (&Arrival, &Verdict)> =
            stretch.there.iter().zip(&verdicts).map(|both| (both.0.recharge.tx_no, both)).collect();
        for difference in &mut differences {
            let told = told.get(&difference.tx_no).copied();
            self.put_right(difference, told, now);
            if let (DifferenceKind::MissingHere, Some(credit)) = (difference.kind, &difference.here) {
                totals.add_credited(credit);
            }
        }
        Findings { totals, differences, verdicts }
    }

    /// The credits of the stretch, with those that were made since they were read; of these, only those
    /// whose recharge was final when the statement told of it, since another may have succeeded after.
    fn beside(&self, stretch: &Stretch) -> Vec<Credit> {
        let read: HashSet<Uuid> = stretch.here.iter().map(|credit| credit.tx_no).collect();
        let is_final = |recharge: &&Recharge| recharge.status != Status::Pending;
        let recharges = stretch.there.iter().map(|told| &told.recharge).filter(is_final);
        let since = recharges.filter(|recharge| !read.contains(&recharge.tx_no));
        let since = since.filter_map(|recharge| self.credits.get(&recharge.tx_no));
        let mut here: Vec<Credit> = stretch.here.iter().chain(since).cloned().collect();
        here.sort_unstable_by_key(|credit| credit.tx_no);
        here
    }

    /// Says what became of a difference once the statement's recharge, if there is one, was posted.
    fn put_right(
        &mut self,
        difference: &mut Difference,
        told: Option<(&Arrival, &Verdict)>,
        now: DateTime<Utc>,
    ) {
        let kind = match (difference.kind, told) {
            (DifferenceKind::MissingHere, Some((_, Verdict::Refused(refusal)))) => {
                difference.kind = match refusal {
                    Refusal::OrderCreditedAlready(_) => DifferenceKind::OrderCreditedAlready,
                    _ => DifferenceKind::Refused,
                };
                difference.detail = Some(refusal.to_string());
                refusal.kind()
            }
            (DifferenceKind::MissingHere, _) => {
                difference.here = self.credits.get(&difference.tx_no).cloned();
                return;
            }
            (_, Some((_, Verdict::Refused(refusal)))) => refusal.kind(),
            (_, Some((arrival, _))) => {
                self.note(undecided(arrival), now);
                ExceptionKind::ContradictsCredit
            }
            (_, None) => {
                self.note(not_there(difference.tx_no), now);
                ExceptionKind::NotAtPayService
            }
        };
        difference.exception_id = self.exceptions.touched(difference.tx_no, kind);
    }
}

/// Posting passes over what is pending, since it may be a late word; the statement's is not.
fn undecided(arrival: &Arrival) -> Incident {
    let detail = "credited here, and pay-service's statement says that it is pending".to_owned();
    Incident { detail, ..arrival.refused(&Refusal::ContradictsCredit) }
}

fn not_there(tx_no: Uuid) -> Incident {
    Incident {
        subject: tx_no,
        kind: ExceptionKind::NotAtPayService,
        tx_no: Some(tx_no),
        merchant_order_no: None,
        source: CreditSource::Statement,
        event_id: None,
        detail: "credited here, and pay-service's statement does not hold it".to_owned(),
        received: None,
        result: None,
    }
}
