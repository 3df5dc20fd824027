//! `GET /v1/audit`: the ledger against itself, and what is known of it against pay-service.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::NaiveDate;
use runtime::http::Json;
use runtime::http::described::KeyedProblems;
use runtime::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::access::Owner;
use super::described::{AccountNumber, CurrencyCode, DayWord};
use crate::domain::{Audit, AuditDifference, AuditTotal, DayState, Nightly, Standing, UnreconciledDays};
use crate::use_cases::unreconciled_days;

/// How many differing accounts are listed at most.
const MAX_DIFFERENCES: u32 = 100;

/// What the audit itself holds against each other.
const CHECKS: &str = "the ledger against itself: every balance is the sum of its account's credits";
/// What it does not.
const DOES_NOT_CHECK: &str = "the ledger against pay-service: recharges that succeeded there and are not \
    credited here, or are credited here alone, are found by reconciliations; see `reconciliation` and \
    `open_exceptions`";

/// The books summed up, all at one moment.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(super) struct AuditView {
    /// Whether every balance is the sum of its account's credits; says nothing of credits that are missing
    balanced: bool,
    /// What `balanced` is about
    #[schema(value_type = String)]
    checks: &'static str,
    /// What it is not about
    #[schema(value_type = String)]
    does_not_check: &'static str,
    /// What the accounts of each currency hold
    totals: Vec<TotalView>,
    /// How many credits have no order number, so that a second `tx_no` of their orders would be credited: a
    /// reconciliation of their period fills it in
    #[schema(example = 0)]
    credits_without_order: u64,
    /// How many accounts differ
    #[schema(example = 0)]
    differing_accounts: u64,
    /// The first 100 of them, by account number
    differences: Vec<DifferenceView>,
    /// How far the ledger was compared with pay-service
    reconciliation: ReconciledView,
    /// How many exceptions wait for a person
    #[schema(example = 1)]
    open_exceptions: u64,
    /// The same by kind; kinds without any are left out
    #[schema(value_type = BTreeMap<String, u64>, example = json!({ "unknown_account": 1 }))]
    open_exceptions_by_kind: BTreeMap<&'static str, u64>,
    /// How many recharges that were asked for here have no final result yet
    #[schema(example = 0)]
    waiting_requests: u64,
}

/// How far the ledger was compared with pay-service.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditReconciliation)]
struct ReconciledView {
    /// The time of day (UTC) at which the day before is reconciled by itself, or `off`
    #[schema(example = "02:30")]
    nightly: String,
    /// The newest day that was compared to its end; `null` where none was
    last_reconciled_day: Option<NaiveDate>,
    /// How many days that are over were not; `null` where none ever was to be
    #[schema(example = 0)]
    unreconciled_days: Option<u64>,
    /// The oldest 100 of them
    unreconciled: Vec<DayView>,
    /// How many reconciliations are under way
    #[schema(example = 0)]
    running: u64,
    /// How many recharges reconciliations found to differ whose exceptions wait for a person
    #[schema(example = 0)]
    open_differences: u64,
}

/// A day that is over and not reconciled.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreconciledDay)]
struct DayView {
    /// Which day, of UTC
    day: NaiveDate,
    /// `waiting` to be begun, `running`, `cancelled` by a person, or `too_old` to be begun by itself
    #[schema(value_type = DayWord)]
    state: &'static str,
}

/// What the accounts of one currency hold.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditTotal)]
struct TotalView {
    /// By ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// How many accounts
    #[schema(example = 2)]
    accounts: u64,
    /// How many credits
    #[schema(example = 17)]
    credits: u64,
    /// Σ balances, in minor units (fen); may need more than 64 bits
    #[schema(value_type = i128, example = 1000)]
    balances: i128,
    /// Σ credits, in minor units (fen); may need more than 64 bits
    #[schema(value_type = i128, example = 1000)]
    credited: i128,
}

/// An account whose balance is not the sum of its credits.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditDifference)]
struct DifferenceView {
    /// Which account
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// By ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// What it is said to hold, in minor units (fen)
    balance: i64,
    /// The sum of its credits
    #[schema(value_type = i128)]
    credited: i128,
}

impl AuditView {
    fn new(audit: Audit, standing: &Standing, reconciliation: ReconciledView) -> Self {
        let open = &standing.open_exceptions;
        Self {
            balanced: audit.balanced(),
            checks: CHECKS,
            does_not_check: DOES_NOT_CHECK,
            totals: audit.totals.into_iter().map(TotalView::from).collect(),
            credits_without_order: audit.without_order,
            differing_accounts: audit.differing,
            differences: audit.differences.into_iter().map(DifferenceView::from).collect(),
            reconciliation,
            open_exceptions: open.iter().map(|(_, count)| count).sum(),
            open_exceptions_by_kind: open.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
            waiting_requests: standing.waiting_requests,
        }
    }
}

impl ReconciledView {
    fn new(nightly: Nightly, days: Option<UnreconciledDays>, standing: &Standing) -> Self {
        let unreconciled_days = days.as_ref().map(UnreconciledDays::count);
        let UnreconciledDays { last_reconciled, named, .. } = days.unwrap_or_default();
        let view = |(day, state): (NaiveDate, DayState)| DayView { day, state: state.as_str() };
        Self {
            nightly: nightly.to_string(),
            last_reconciled_day: last_reconciled,
            unreconciled_days,
            unreconciled: named.into_iter().map(view).collect(),
            running: standing.running_reconciliations,
            open_differences: standing.open_differences,
        }
    }
}

impl From<AuditTotal> for TotalView {
    fn from(total: AuditTotal) -> Self {
        Self {
            currency: total.currency.to_string(),
            accounts: total.accounts,
            credits: total.credits,
            balances: total.balances,
            credited: total.credited,
        }
    }
}

impl From<AuditDifference> for DifferenceView {
    fn from(difference: AuditDifference) -> Self {
        Self {
            account_no: difference.account_no.to_string(),
            currency: difference.currency.to_string(),
            balance: difference.balance,
            credited: difference.credited,
        }
    }
}

/// Audit the books
///
/// Adds up every credit of every account, all at one moment, and holds the sums against the
/// balances. Millions of credits take seconds. That the books are balanced does not say that they are
/// complete: beside it stands how far they were compared with pay-service, and what is open of that.
#[utoipa::path(get, path = "/v1/audit", operation_id = "auditBooks", tag = "books", security(("key" = [])),
    responses(
        (status = 200, description = "What was found", body = AuditView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(_: Owner, State(app): AppState) -> Result<Json<AuditView>, Problem> {
    let audit = app.store.audit(MAX_DIFFERENCES).await?;
    let standing = app.store.standing().await?;
    let days = unreconciled_days(&*app.store, app.nightly, app.clock.now()).await?;
    let reconciliation = ReconciledView::new(app.nightly, days, &standing);
    Ok(Json(AuditView::new(audit, &standing, reconciliation)))
}
