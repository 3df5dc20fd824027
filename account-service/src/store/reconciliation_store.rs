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
    Cancellation, Credit, Difference, DifferenceKind, Ended, Findings, KeptDifference, Period, Progress,
    Reconciliation, ReconciliationState, Sides, Stretch, Sum, Totals,
};

/// How many that somebody asked for may be under way.
pub(super) const MOST_RUNNING: i64 = 32;

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
        })
    }
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
