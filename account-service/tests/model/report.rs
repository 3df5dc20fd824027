//! What a reconciliation shows, beside what it should.

use std::collections::BTreeMap;

use account_service::domain::{
    Credit, Difference, Period, Recharge, Reconciliation, ReconciliationState, Totals, Verdict as Real,
};
use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

use super::model::Verdict;
use super::pay_service::{Told, account_no, currency};
use super::walks::{Found, Sums, Walk};

/// A reconciliation, as far as it can be foretold.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    id: Uuid,
    period: (u64, u64),
    after: Option<Uuid>,
    pages: u64,
    recharges: u64,
    sums: Sums,
    counts: BTreeMap<&'static str, u64>,
    due: Option<DateTime<Utc>>,
    failures: u32,
}

/// A credit: number, account, amount, currency.
pub type Parts = (Uuid, String, i64, String);
/// A difference: number, kind, both sides, whether there is an exception of it.
pub type Line = (Uuid, &'static str, Option<Recharge>, Option<Parts>, bool);

pub fn shown(walk: &Reconciliation) -> Report {
    let progress = &walk.progress;
    let failures = match walk.state {
        ReconciliationState::Running { failures, .. } => failures,
        ReconciliationState::Finished { .. } | ReconciliationState::Cancelled { .. } => 0,
    };
    Report {
        id: walk.id,
        period: millis(walk.period),
        after: progress.after,
        pages: progress.pages,
        recharges: progress.recharges,
        sums: sums(&progress.totals),
        counts: progress.differences.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
        due: walk.state.due_at().map(|due| due.trunc_subsecs(6)),
        failures,
    }
}

pub fn expected(walk: &Walk) -> Report {
    Report {
        id: walk.id,
        period: walk.period,
        after: walk.after,
        pages: walk.pages,
        recharges: walk.recharges,
        sums: walk.sums.clone(),
        counts: walk.counts(),
        due: walk.due,
        failures: walk.failures,
    }
}

pub fn millis(period: Period) -> (u64, u64) {
    let millis = |time: DateTime<Utc>| u64::try_from(time.timestamp_millis()).expect("after 1970");
    (millis(period.from), millis(period.to))
}

pub fn sums(totals: &Totals) -> Sums {
    let code = |code: &str| currency(code == currency(true));
    let sides = totals.iter().map(|(currency, sides)| {
        let sides = [sides.there, sides.here, sides.credited];
        (code(currency.as_str()), sides.map(|sum| (sum.count, sum.amount)))
    });
    sides.collect()
}

pub fn parts(credit: &Credit) -> Parts {
    let (account_no, currency) = (credit.account_no.as_str().into(), credit.currency.as_str().into());
    (credit.tx_no, account_no, credit.amount.minor_units(), currency)
}

pub fn told_parts(told: &Told) -> Parts {
    (told.tx, account_no(told.account).into(), told.amount, currency(told.dollars).into())
}

pub fn line(difference: &Difference) -> Line {
    let (there, here) = (difference.there.clone(), difference.here.as_ref().map(parts));
    (difference.tx_no, difference.kind.as_str(), there, here, difference.exception_id.is_some())
}

pub fn expected_line(found: &Found) -> Line {
    let there = found.there.as_ref().map(Told::recharge);
    let here = found.here.as_ref().map(told_parts);
    (found.tx, found.differs.word(), there, here, found.exception.is_some())
}

pub fn verdict(verdict: &Real) -> &'static str {
    match verdict {
        Real::Credited(_) => "credited",
        Real::Already(_) => "already",
        Real::Noted => "noted",
        Real::Refused(refusal) => refusal.kind().as_str(),
    }
}

pub fn expected_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Credited => "credited",
        Verdict::Already => "already",
        Verdict::Noted => "noted",
        Verdict::Refused(kind) => kind.word(),
    }
}
