//! `GET /v1/payresult/{tx_no}`: the reconciliation query.

use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, Utc};
use runtime::http::described::{KeyedProblems, TxNo};
use runtime::http::{Json, Path};
use runtime::problem::{Chain, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::Owner;
use super::described::{AccountNumber, Answerer, CurrencyCode, MinorUnits, RechargeStatus};
use super::notifications::not_posted;
use super::{AppState, PAY_SERVICE_UNANSWERED};
use crate::use_cases::{AnsweredBy, NotReconciled, PayResult};

/// How a recharge stands.
#[derive(Serialize, ToSchema)]
#[schema(as = PayResult)]
pub(super) struct PayResultView {
    /// pay-service's number for it
    tx_no: Uuid,
    /// `pending`, `succeeded`, `failed` or `closed`
    #[schema(value_type = RechargeStatus)]
    status: &'static str,
    /// The account to credit
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// How much, in minor units (fen)
    #[schema(value_type = MinorUnits)]
    amount: i64,
    /// Of what, by ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// Whether it is credited here
    credited: bool,
    /// When it was credited
    credited_at: Option<DateTime<Utc>>,
    /// Who knew: `ledger` or `pay-service`
    #[schema(value_type = Answerer)]
    source: &'static str,
    /// Why a recharge that succeeded can't be credited; only then
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
}

impl From<PayResult> for PayResultView {
    fn from(result: PayResult) -> Self {
        Self {
            tx_no: result.tx_no,
            status: result.status.as_str(),
            account_no: result.account_no.to_string(),
            amount: result.amount.minor_units(),
            currency: result.currency.to_string(),
            credited: result.credited_at.is_some(),
            credited_at: result.credited_at,
            source: match result.source {
                AnsweredBy::Ledger => "ledger",
                AnsweredBy::PayService => "pay-service",
            },
            refusal: result.refusal.map(|refusal| refusal.to_string()),
        }
    }
}

/// How a recharge stands; asked of pay-service when it is not credited here
///
/// When pay-service says that it succeeded, it is credited, once, and then answered.
#[utoipa::path(get, path = "/v1/payresult/{tx_no}", operation_id = "getPayResult", tag = "results", security(("key" = [])),
    params(("tx_no" = TxNo, Path, description = "pay-service's number for the recharge")),
    responses(
        (status = 200, description = "How it stands", body = PayResultView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "pay-service knows no such recharge", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(
    _: Owner,
    State(app): AppState,
    Path(tx_no): Path<Uuid>,
) -> Result<Json<PayResultView>, Problem> {
    match app.reconcile.payresult(tx_no).await? {
        Some(result) => Ok(Json(result.into())),
        None => Err(Problem::not_found("pay-service knows no recharge of this tx_no")),
    }
}

impl From<NotReconciled> for Problem {
    fn from(error: NotReconciled) -> Self {
        match error {
            NotReconciled::Store(error) => error.into(),
            NotReconciled::NotPosted(error) => not_posted(&error),
            NotReconciled::Unanswered(error) => {
                if let Some(times) = PAY_SERVICE_UNANSWERED.note(&Chain(&error)) {
                    tracing::warn!(error = %Chain(&error), times, "pay_service.unanswered");
                }
                Self::unavailable("pay-service", Duration::from_secs(5)).with_detail(
                    "this recharge is not credited here, and pay-service does not say how it stands; ask again later",
                )
            }
        }
    }
}
