//! `GET /v1/accounts/{account_no}/credits`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use runtime::http::described::{KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Path, Query};
use runtime::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::Owner;
use super::described::{AccountNumber, CurrencyCode, MinorUnits, Source};
use super::page::PageQuery;
use super::{AppState, account_no, no_such_account};
use crate::domain::Credit;

/// One credit.
#[derive(Serialize, ToSchema)]
#[schema(as = Credit)]
pub(super) struct CreditView {
    /// The recharge it comes from
    tx_no: Uuid,
    /// The account it went to
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// How much, in minor units (fen)
    #[schema(value_type = MinorUnits)]
    amount: i64,
    /// Of what, by ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// How the result was learned: `webhook`, `queue`, `query`, `sweep`, `statement` or `exception`
    #[schema(value_type = Source)]
    source: &'static str,
    /// The event that reported it; `null` when there was none
    event_id: Option<String>,
    /// When it was credited
    credited_at: DateTime<Utc>,
    /// The merchant's number of the order that was paid; `null` for credits of earlier versions
    merchant_order_no: Option<String>,
    /// The order's other credit, where an operator credited this one despite it
    credited_despite: Option<Uuid>,
}

impl From<Credit> for CreditView {
    fn from(credit: Credit) -> Self {
        Self {
            tx_no: credit.tx_no,
            account_no: credit.account_no.to_string(),
            amount: credit.amount.minor_units(),
            currency: credit.currency.to_string(),
            source: credit.source.as_str(),
            event_id: credit.event_id,
            credited_at: credit.credited_at,
            merchant_order_no: credit.merchant_order_no,
            credited_despite: credit.credited_despite,
        }
    }
}

/// List an account's credits, newest first
#[utoipa::path(get, path = "/v1/accounts/{account_no}/credits", operation_id = "listCredits", tag = "accounts", security(("key" = [])),
    params(("account_no" = AccountNumber, Path, description = "The account's number"), PageQuery),
    responses(
        (status = 200, description = "One page of credits", body = List<CreditView>),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such account", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, QueryProblems,
    ))]
pub(super) async fn list(
    _: Owner,
    State(app): AppState,
    Path(path): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<CreditView>>, Problem> {
    let page = query.page()?;
    let account_no = account_no(path)?;
    app.store.account(&account_no).await?.ok_or_else(no_such_account)?;
    let credits = app.store.credits(&account_no, page).await?;
    Ok(Json(List::new(credits, page, |credit| credit.tx_no).map(CreditView::from)))
}
