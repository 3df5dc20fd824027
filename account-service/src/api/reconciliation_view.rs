//! Reconciliations and their differences as they are shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::{CurrencyCode, DifferenceWord, OriginWord, ReconciliationWord};
use crate::domain::{
    Cancellation, DifferenceKind, KeptDifference, Reconciliation, ReconciliationState, Sides, Sum,
};

/// The comparison of one period with pay-service's statement.
#[derive(Serialize, ToSchema)]
#[schema(as = Reconciliation)]
pub(super) struct ReconciliationView {
    /// Its id
    id: Uuid,
    /// Recharges created then or later
    from: DateTime<Utc>,
    /// Recharges created before then
    to: DateTime<Utc>,
    /// `running`, `finished` or `cancelled`
    #[schema(value_type = ReconciliationWord)]
    state: &'static str,
    /// `asked`, or `nightly` of a day that is over
    #[schema(value_type = OriginWord)]
    origin: &'static str,
    /// Who asked for it: `operator`, `merchant:<name>`, or `account-service`
    #[schema(example = "operator")]
    asked_by: String,
    /// When
    asked_at: DateTime<Utc>,
    /// When it was finished
    finished_at: Option<DateTime<Utc>>,
    /// When it was found to have been begun by a clock that was ahead: it does not count, and its day is
    /// reconciled again
    voided_at: Option<DateTime<Utc>>,
    /// Who cancelled it, when and why
    cancelled: Option<CancellationView>,
    /// How far it has come
    progress: ProgressView,
    /// What each currency comes to, in alphabetical order
    totals: Vec<TotalView>,
    /// How many differences of each kind
    #[schema(value_type = BTreeMap<String, u64>, example = json!({ "missing_here": 1 }))]
    differences: BTreeMap<&'static str, u64>,
    /// What pay-service said last instead of an answer; `null` once it answers
    last_error: Option<String>,
    /// When it goes on; `null` when it does not
    next_at: Option<DateTime<Utc>>,
}

/// Who ended a reconciliation before its end.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationCancellation)]
struct CancellationView {
    /// `operator`, `merchant:<name>`, or `account-service`
    #[schema(example = "operator")]
    by: String,
    /// When
    at: DateTime<Utc>,
    /// Why
    #[schema(example = "the statement of that day is broken")]
    reason: Option<String>,
}

/// How far a reconciliation has come.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationProgress)]
struct ProgressView {
    /// Both sides were compared up to this time of creation
    compared_to: DateTime<Utc>,
    /// How many pages were read
    #[schema(example = 1)]
    pages: u64,
    /// How many recharges were in the statement, whatever their status
    #[schema(example = 17)]
    recharges: u64,
}

/// What one currency comes to.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationTotal)]
struct TotalView {
    /// By ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// Recharges that succeeded at pay-service
    there: SumView,
    /// Credits that were here before
    here: SumView,
    /// Credits that the reconciliation has made
    credited: SumView,
}

/// How many, and how much.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationSum)]
struct SumView {
    /// How many
    #[schema(example = 17)]
    count: u64,
    /// Their sum, in minor units (fen); may need more than 64 bits
    #[schema(value_type = i128, example = 1000)]
    amount: i128,
}

/// A recharge about which the two sides differ.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationDifference)]
pub(super) struct DifferenceView {
    /// pay-service's number for the recharge
    tx_no: Uuid,
    /// `missing_here`, `refused`, `order_credited_already`, `not_succeeded_there`, `not_there`, `account_differs`,
    /// `currency_differs` or `amount_differs`
    #[schema(value_type = DifferenceWord)]
    kind: &'static str,
    /// What the statement said; `null` when it did not hold it
    #[schema(value_type = Value)]
    there: Option<Box<RawValue>>,
    /// The credit; `null` when there is none
    #[schema(value_type = Value)]
    here: Option<Box<RawValue>>,
    /// Why it can't be credited; of `refused` and `order_credited_already`
    #[schema(example = "there is no such account")]
    detail: Option<String>,
    /// The exception that is kept of it; `null` of what was credited
    exception_id: Option<Uuid>,
    /// When it was found
    found_at: DateTime<Utc>,
}

impl From<Reconciliation> for ReconciliationView {
    fn from(found: Reconciliation) -> Self {
        let progress = &found.progress;
        let count = |kind: DifferenceKind| progress.differences.get(&kind).copied().unwrap_or_default();
        let (state, finished_at, next_at) =
            (found.state.as_str(), found.state.finished_at(), found.state.due_at());
        let compared_to = found.compared_to();
        let (last_error, cancelled) = match found.state {
            ReconciliationState::Finished { .. } => (None, None),
            ReconciliationState::Running { last_error, .. } => (last_error, None),
            ReconciliationState::Cancelled { cancellation: Cancellation { by, at, reason }, last_error } => {
                (last_error, Some(CancellationView { by, at, reason }))
            }
        };
        Self {
            id: found.id,
            from: found.period.from,
            to: found.period.to,
            origin: found.origin.as_str(),
            asked_at: found.asked_at,
            progress: ProgressView { compared_to, pages: progress.pages, recharges: progress.recharges },
            totals: progress.totals.iter().map(|(code, sides)| total(code.to_string(), sides)).collect(),
            differences: DifferenceKind::ALL.into_iter().map(|kind| (kind.as_str(), count(kind))).collect(),
            state,
            finished_at,
            voided_at: found.voided_at,
            cancelled,
            next_at,
            last_error,
            asked_by: found.asked_by,
        }
    }
}

fn total(currency: String, sides: &Sides) -> TotalView {
    let sum = |sum: Sum| SumView { count: sum.count, amount: sum.amount };
    TotalView { currency, there: sum(sides.there), here: sum(sides.here), credited: sum(sides.credited) }
}

impl From<KeptDifference> for DifferenceView {
    fn from(difference: KeptDifference) -> Self {
        let json = |text: Box<str>| RawValue::from_string(text.into()).ok();
        Self {
            tx_no: difference.tx_no,
            kind: difference.kind.as_str(),
            there: difference.there.and_then(json),
            here: difference.here.and_then(json),
            detail: difference.detail,
            exception_id: difference.exception_id,
            found_at: difference.found_at,
        }
    }
}
