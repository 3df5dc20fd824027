//! Where reconciliations are kept.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::{StoredTime, corrupt, counted, large};
use crate::domain::{
    Cancellation, Credit, Difference, DifferenceKind, Ended, Findings, KeptDifference, OVER_FOR, Period,
    Progress, Reconciled, Reconciliation, ReconciliationState, Sides, Stretch, Sum, Totals, UnfinishedDay,
};

/// How many that somebody asked for may be under way.
pub(super) const MOST_RUNNING: i64 = 32;

/// Finished reconciliations, joined to periods without gaps, newest first. `$1` is the latest time at which
/// a clock that is right can have begun one.
pub(super) const COVERED: &str = "
    SELECT min(period_from) AS period_from, max(period_to) AS period_to FROM (
        SELECT period_from, period_to, sum(CASE WHEN period_from <= reached THEN 0 ELSE 1 END)
                   OVER (ORDER BY period_from, period_to, id ROWS UNBOUNDED PRECEDING) AS joined
        FROM (
            SELECT id, period_from, period_to,
                   max(period_to) OVER (ORDER BY period_from, period_to, id
                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
            FROM reconciliations WHERE state = 'finished' AND voided_at IS NULL AND asked_at <= $1
        ) AS finished
    ) AS numbered GROUP BY joined ORDER BY 1 DESC LIMIT 1000";
/// Days that were begun by themselves and did not come to their end, newest first.
pub(super) const UNFINISHED: &str = "
    SELECT period_from, period_to, failures, state FROM reconciliations
    WHERE origin = 'nightly' AND voided_at IS NULL AND state <> 'finished'
    ORDER BY period_from DESC LIMIT 1000";
/// The first day that was begun by itself, and whether one was begun later than the given time.
pub(super) const BEGUN: &str = "
    SELECT min(period_from), coalesce(max(asked_at) > $1, FALSE) FROM reconciliations
    WHERE origin = 'nightly' AND voided_at IS NULL";
/// Voids what was begun later than the given time; what is not finished ends.
pub(super) const VOID: &str = "
    UPDATE reconciliations SET voided_at = $2, due_at = NULL, token = NULL,
           state = CASE state WHEN 'running' THEN 'cancelled' ELSE state END,
           cancelled_at = CASE state WHEN 'running' THEN $2 ELSE cancelled_at END,
           cancelled_by = CASE state WHEN 'running' THEN $3 ELSE cancelled_by END,
           cancel_reason = CASE state WHEN 'running' THEN $4 ELSE cancel_reason END
    WHERE origin = 'nightly' AND voided_at IS NULL AND asked_at > $1";
/// Why those end.
pub(super) const VOIDED: &str = "begun by a clock that was ahead";

/// Where the walks along pay-service's statement are kept, shared by leases.
#[async_trait]
pub trait ReconciliationStore: Send + Sync + 'static {
    /// Keeps a new reconciliation. `false` when it is not kept: the nightly one of this period is there,
    /// or too many that somebody asked for are under way.
    async fn start_reconciliation(&self, new: &Reconciliation) -> StoreResult<bool>;

    /// Takes the one that is due the longest at `now` under the lease `token` until `until`.
    async fn claim_reconciliation(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> StoreResult<Option<Reconciliation>>;

    /// The next credits of the period after this number, by number, at most `limit`.
    async fn credits_after(
        &self,
        period: Period,
        after: Option<Uuid>,
        limit: u16,
    ) -> StoreResult<Vec<Credit>>;

    /// Compares a stretch with the books and puts right what can be, in one transaction with the step
    /// past it, so that each is done once; `None`, and nothing is done, when the lease is lost.
    async fn keep_stretch(
        &self,
        token: Uuid,
        id: Uuid,
        stretch: &Stretch,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<(Reconciliation, Findings)>>;

    /// Keeps that the next stretch is put off, unless the lease is lost.
    async fn put_off_reconciliation(&self, token: Uuid, put_off: &Reconciliation) -> StoreResult<()>;

    /// Ends one where it stands; whoever is at it changes nothing any more. `None` when there is no such one.
    async fn cancel_reconciliation(
        &self,
        id: Uuid,
        cancellation: &Cancellation,
    ) -> StoreResult<Option<Result<Reconciliation, Ended>>>;

    /// What is reconciled, by what clocks that were right have begun: nothing later than `now`, give or
    /// take the minute that a day has to be over.
    async fn reconciled(&self, now: DateTime<Utc>) -> StoreResult<Reconciled>;

    /// Voids nightly ones that were begun by a clock that was ahead of `now`; how many.
    async fn void_reconciliations(&self, now: DateTime<Utc>) -> StoreResult<u64>;

    /// Reconciliations, newest first; the page's cursor is a reconciliation's id.
    async fn reconciliations(&self, page: Page) -> StoreResult<Vec<Reconciliation>>;

    /// The reconciliation with this id.
    async fn reconciliation(&self, id: Uuid) -> StoreResult<Option<Reconciliation>>;

    /// What it has found, by number, all or of one kind; the page's cursor is a `tx_no`.
    async fn differences(
        &self,
        id: Uuid,
        kind: Option<DifferenceKind>,
        page: Page,
    ) -> StoreResult<Vec<KeptDifference>>;
}

/// The latest time at which a clock that is right can have begun something, when it is `now` here.
pub(super) fn latest(now: DateTime<Utc>) -> DateTime<Utc> {
    now + OVER_FOR
}

/// A reconciliation; `T` is how the backend keeps a time.
#[derive(FromRow)]
pub(super) struct ReconciliationRow<T> {
    id: Uuid,
    period_from: T,
    period_to: T,
    origin: String,
    asked_by: String,
    asked_at: T,
    after_tx_no: Option<Uuid>,
    pages: i64,
    recharges: i64,
    totals: String,
    differences: String,
    due_at: Option<T>,
    failures: i64,
    last_error: Option<String>,
    finished_at: Option<T>,
    cancelled_at: Option<T>,
    cancelled_by: Option<String>,
    cancel_reason: Option<String>,
    voided_at: Option<T>,
}

/// A period.
#[derive(FromRow)]
pub(super) struct PeriodRow<T> {
    period_from: T,
    period_to: T,
}

/// A day that did not come to its end.
#[derive(FromRow)]
pub(super) struct UnfinishedRow<T> {
    period_from: T,
    period_to: T,
    failures: i64,
    state: String,
}

/// A difference.
#[derive(FromRow)]
pub(super) struct DifferenceRow<T> {
    tx_no: Uuid,
    kind: String,
    there: Option<String>,
    here: Option<String>,
    detail: Option<String>,
    exception_id: Option<Uuid>,
    found_at: T,
}

/// The sums of one currency, each as a count and a sum that may need more than 64 bits.
#[derive(Serialize, Deserialize)]
struct SidesJson {
    there: (u64, String),
    here: (u64, String),
    credited: (u64, String),
}

impl<T: StoredTime> ReconciliationRow<T> {
    /// The reconciliation it holds.
    pub(super) fn read(self) -> StoreResult<Reconciliation> {
        let state = match (self.finished_at, self.due_at, self.cancelled_at.zip(self.cancelled_by)) {
            (Some(at), None, None) => ReconciliationState::Finished { at: at.read()? },
            (None, Some(due_at), None) => ReconciliationState::Running {
                due_at: due_at.read()?,
                failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
                last_error: self.last_error,
            },
            (None, None, Some((at, by))) => ReconciliationState::Cancelled {
                cancellation: Cancellation { by, at: at.read()?, reason: self.cancel_reason },
                last_error: self.last_error,
            },
            _ => return Err(corrupt("a reconciliation is not one of due, finished and cancelled")),
        };
        Ok(Reconciliation {
            id: self.id,
            period: Period { from: self.period_from.read()?, to: self.period_to.read()? },
            origin: self.origin.parse().map_err(corrupt)?,
            asked_by: self.asked_by,
            asked_at: self.asked_at.read()?,
            progress: Progress {
                after: self.after_tx_no,
                pages: counted(self.pages),
                recharges: counted(self.recharges),
                totals: read_totals(&self.totals)?,
                differences: read_counts(&self.differences)?,
            },
            state,
            voided_at: self.voided_at.map(StoredTime::read).transpose()?,
        })
    }
}

impl<T: StoredTime> PeriodRow<T> {
    fn read(self) -> StoreResult<Period> {
        Ok(Period { from: self.period_from.read()?, to: self.period_to.read()? })
    }
}

impl<T: StoredTime> UnfinishedRow<T> {
    fn read(self) -> StoreResult<UnfinishedDay> {
        Ok(UnfinishedDay {
            period: Period { from: self.period_from.read()?, to: self.period_to.read()? },
            failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
            is_cancelled: self.state == "cancelled",
        })
    }
}

/// What the three questions come to.
pub(super) fn reconciled<T: StoredTime>(
    (first, from_the_future): (Option<T>, bool),
    covered: Vec<PeriodRow<T>>,
    unfinished: Vec<UnfinishedRow<T>>,
) -> StoreResult<Reconciled> {
    Ok(Reconciled {
        first: first.map(StoredTime::read).transpose()?,
        covered: covered.into_iter().map(PeriodRow::read).collect::<StoreResult<_>>()?,
        unfinished: unfinished.into_iter().map(UnfinishedRow::read).collect::<StoreResult<_>>()?,
        from_the_future,
    })
}

impl<T: StoredTime> DifferenceRow<T> {
    /// The difference it holds.
    pub(super) fn read(self) -> StoreResult<KeptDifference> {
        Ok(KeptDifference {
            tx_no: self.tx_no,
            kind: self.kind.parse().map_err(corrupt)?,
            there: self.there.map(Into::into),
            here: self.here.map(Into::into),
            detail: self.detail,
            exception_id: self.exception_id,
            found_at: self.found_at.read()?,
        })
    }
}

/// Totals as they are stored.
pub(super) fn totals_json(totals: &Totals) -> String {
    let sum = |sum: Sum| (sum.count, sum.amount.to_string());
    let sides = |s: &Sides| SidesJson { there: sum(s.there), here: sum(s.here), credited: sum(s.credited) };
    let rows: BTreeMap<&str, SidesJson> =
        totals.iter().map(|(code, both)| (code.as_str(), sides(both))).collect();
    serde_json::json!(rows).to_string()
}

fn read_totals(stored: &str) -> StoreResult<Totals> {
    let rows: BTreeMap<String, SidesJson> = serde_json::from_str(stored).map_err(corrupt)?;
    let read = |(code, row): (String, SidesJson)| {
        let (there, here, credited) = (read_sum(&row.there)?, read_sum(&row.here)?, read_sum(&row.credited)?);
        let sides = Sides { there, here, credited };
        Ok((code.parse().map_err(corrupt)?, sides))
    };
    rows.into_iter().map(read).collect()
}

fn read_sum((count, amount): &(u64, String)) -> StoreResult<Sum> {
    Ok(Sum { count: *count, amount: large(amount)? })
}

/// Counts of differences as they are stored.
pub(super) fn counts_json(counts: &BTreeMap<DifferenceKind, u64>) -> String {
    let rows: BTreeMap<&str, u64> = counts.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    serde_json::json!(rows).to_string()
}

fn read_counts(stored: &str) -> StoreResult<BTreeMap<DifferenceKind, u64>> {
    let rows: BTreeMap<String, u64> = serde_json::from_str(stored).map_err(corrupt)?;
    rows.into_iter().map(|(kind, count)| Ok((kind.parse().map_err(corrupt)?, count))).collect()
}

/// Both sides of a difference as they are stored.
pub(super) fn sides_json(difference: &Difference) -> (Option<String>, Option<String>) {
    let there = difference.there.as_ref().map(|recharge| recharge.to_json().into());
    (there, difference.here.as_ref().map(|credit| credit.to_json().to_string()))
}
