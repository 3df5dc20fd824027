//! `GET /v1/recharges/totals`: what a statement comes to.

use runtime::Problem;
use runtime::http::described::{ForeignMerchant, KeyedProblems, MerchantName, QueryProblems};
use runtime::http::{Json, List, Query, Timestamp};
use runtime::keys::Caller;
use runtime::validation::Invalid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{AccountNumber, CurrencyCode, RechargeStatus};
use super::statement::{narrowed, statement};
use super::{State, wrong_parameter};
use crate::domain::Total;

/// Which recharges are summed up.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TotalsQuery {
    /// Only this merchant's; with a merchant's key, its own name or absent
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// Only those with this status
    #[param(value_type = Option<RechargeStatus>)]
    status: Option<String>,
    /// Only those for this account
    #[param(value_type = Option<AccountNumber>)]
    account_no: Option<String>,
    /// Only those created then or later
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those created before then
    #[param(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
}

/// What the recharges of one merchant in one currency and status come to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Total)]
pub struct TotalDocument {
    /// Whose recharges.
    #[schema(value_type = MerchantName)]
    merchant: String,
    /// ISO 4217.
    #[schema(value_type = CurrencyCode)]
    currency: &'static str,
    /// `pending`, `succeeded`, `failed` or `closed`.
    #[schema(value_type = RechargeStatus)]
    status: &'static str,
    /// How many.
    #[schema(example = 3, minimum = 1)]
    count: u64,
    /// Their amounts together, in minor units (fen, cents).
    #[schema(example = 3000, minimum = 1)]
    sum: i64,
}

impl From<Total> for TotalDocument {
    fn from(total: Total) -> Self {
        Self {
            merchant: total.merchant,
            currency: total.currency.code(),
            status: total.status.as_str(),
            count: total.count,
            sum: total.sum,
        }
    }
}

/// The totals of a statement
///
/// By merchant, currency and status, in this order; `next_cursor` is always `null`. Up to 2 000 000 recharges are
/// summed up: where more match, a shorter period has to be asked for.
#[utoipa::path(
    get,
    path = "/v1/recharges/totals",
    tag = "recharges",
    security(("key" = [])),
    operation_id = "sumRecharges",
    params(TotalsQuery),
    responses(
        (status = 200, description = "The totals", body = List<TotalDocument>),
        (status = 422, description = "Too many recharges match", body = Problem, content_type = "application/problem+json"),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn show(
    state: State,
    caller: Caller,
    Query(query): Query<TotalsQuery>,
) -> Result<Json<List<TotalDocument>>, Problem> {
    let TotalsQuery { merchant, status, account_no, created_from, created_to } = query;
    let asked =
        statement(merchant, status, account_no, (created_from, created_to)).map_err(wrong_parameter)?;
    let totals = state.tools.store.totals(&narrowed(&caller, asked)?).await?;
    let totals = totals.map_err(|too_many| Invalid::field("created_from", too_many.to_string()))?;
    Ok(Json(List { items: totals.into_iter().map(Into::into).collect(), next_cursor: None }))
}
