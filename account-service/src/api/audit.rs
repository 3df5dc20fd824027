//! `GET /v1/audit`.

use axum::extract::State;
use runtime::http::Json;
use runtime::http::described::KeyedProblems;
use runtime::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use super::access::Owner;
use crate::domain::{Audit, AuditDifference, AuditTotal};

/// How many differing accounts are listed at most.
const MAX_DIFFERENCES: u32 = 100;

/// The books summed up, all at one moment.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(super) struct AuditView {
    /// Whether every balance is the sum of its account's credits
    balanced: bool,
    /// What the accounts of each currency hold
    totals: Vec<TotalView>,
    /// How many accounts differ
    #[schema(example = 0)]
    differing_accounts: u64,
    /// The first 100 of them, by account number
    differences: Vec<DifferenceView>,
}

/// What the accounts of one currency hold.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditTotal)]
struct TotalView {
    /// By ISO 4217
    #[schema(example = "CNY")]
    currency: String,
    /// How many accounts
    #[schema(example = 2)]
    accounts: u64,
    /// How many credits
    #[schema(example = 17)]
    credits: u64,
    /// Σ balances, in minor units (fen); may need more than 64 bits
    #[schema(value_type = i64, example = 1000)]
    balances: i128,
    /// Σ credits, in minor units (fen); may need more than 64 bits
    #[schema(value_type = i64, example = 1000)]
    credited: i128,
}

/// An account whose balance is not the sum of its credits.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditDifference)]
struct DifferenceView {
    /// Which account
    #[schema(example = "6222021001")]
    account_no: String,
    /// By ISO 4217
    #[schema(example = "CNY")]
    currency: String,
    /// What it is said to hold, in minor units (fen)
    balance: i64,
    /// The sum of its credits
    #[schema(value_type = i64)]
    credited: i128,
}

impl From<Audit> for AuditView {
    fn from(audit: Audit) -> Self {
        Self {
            balanced: audit.balanced(),
            totals: audit.totals.into_iter().map(TotalView::from).collect(),
            differing_accounts: audit.differing,
            differences: audit.differences.into_iter().map(DifferenceView::from).collect(),
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
/// balances. Millions of credits take seconds.
#[utoipa::path(get, path = "/v1/audit", tag = "books", security(("key" = [])),
    responses(
        (status = 200, description = "What was found", body = AuditView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(_: Owner, State(app): AppState) -> Result<Json<AuditView>, Problem> {
    Ok(Json(app.store.audit(MAX_DIFFERENCES).await?.into()))
}
