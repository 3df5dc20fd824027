//! `POST /v1/accounts/{account_no}/recharges`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use runtime::http::described::{BodyProblems, KeyedProblems};
use runtime::http::{Json, Path};
use runtime::problem::{Chain, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::Owner;
use super::described::{
    AccountCurrency, AccountNumber, Attachment, ChannelName, CurrencyCode, MinorUnits, RechargeStatus,
};
use super::{AppState, PAY_SERVICE_UNANSWERED, account_no, no_such_account};
use crate::domain::{Recharge, Request};
use crate::use_cases::{NotRequested, Wish};

/// A recharge to ask for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RequestRecharge, example = json!({ "amount": 1000 }))]
pub(super) struct WishBody {
    /// How much, in minor units (fen)
    #[schema(value_type = MinorUnits)]
    amount: i64,
    /// Of what, by ISO 4217; must be what the account holds, which is also the default
    #[schema(value_type = Option<AccountCurrency>)]
    currency: Option<String>,
    /// How it is paid; `instant` when left out
    #[schema(value_type = Option<ChannelName>)]
    channel: Option<String>,
    /// A text of your own, at most 1024 bytes, that comes back in every answer and notification
    #[schema(value_type = Option<Attachment>)]
    attach: Option<String>,
}

/// A recharge that pay-service has taken.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestedRecharge)]
pub(super) struct RequestView {
    /// pay-service's number for it
    tx_no: Uuid,
    /// `pending`, `succeeded`, `failed` or `closed`; the credit follows by notification
    #[schema(value_type = RechargeStatus)]
    status: &'static str,
    /// This service's number for it at pay-service
    merchant_order_no: Uuid,
    /// The account to credit
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// How much, in minor units (fen)
    #[schema(value_type = MinorUnits)]
    amount: i64,
    /// Of what, by ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// How it is paid
    #[schema(value_type = ChannelName)]
    channel: String,
    /// The asker's own text
    attach: Option<String>,
    /// When it was asked for
    created_at: DateTime<Utc>,
}

impl RequestView {
    fn new(request: Request, recharge: &Recharge) -> Self {
        Self {
            tx_no: recharge.tx_no,
            status: recharge.status.as_str(),
            merchant_order_no: request.merchant_order_no,
            account_no: request.account_no.to_string(),
            amount: request.amount.minor_units(),
            currency: request.currency.to_string(),
            channel: request.channel,
            attach: request.attach,
            created_at: request.created_at,
        }
    }
}

/// Ask pay-service for a recharge
///
/// The request is recorded first. Nothing is credited here: the result comes by notification, or
/// is asked for with `GET /v1/payresult/{tx_no}`.
#[utoipa::path(post, path = "/v1/accounts/{account_no}/recharges", operation_id = "requestRecharge", tag = "accounts", security(("key" = [])),
    params(("account_no" = AccountNumber, Path, description = "The account's number")),
    request_body = WishBody,
    responses(
        (status = 201, description = "pay-service has taken it", body = RequestView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such account", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, BodyProblems,
    ))]
pub(super) async fn create(
    _: Owner,
    State(app): AppState,
    Path(path): Path<String>,
    Json(body): Json<WishBody>,
) -> Result<(StatusCode, Json<RequestView>), Problem> {
    let account_no = account_no(path)?;
    let wish = Wish::new(body.amount, body.currency.as_deref(), body.channel, body.attach)?;
    let (request, recharge) = app.request_recharge.request(&account_no, wish).await?;
    Ok((StatusCode::CREATED, Json(RequestView::new(request, &recharge))))
}

impl From<NotRequested> for Problem {
    fn from(error: NotRequested) -> Self {
        match error {
            NotRequested::NoSuchAccount => no_such_account(),
            NotRequested::Invalid(invalid) => Self::invalid(invalid),
            NotRequested::Store(error) => error.into(),
            NotRequested::Unknown { merchant_order_no, ref source } => {
                if let Some(times) = PAY_SERVICE_UNANSWERED.note(&Chain(source)) {
                    tracing::warn!(request.merchant_order_no = %merchant_order_no, error = %Chain(source), times, "pay_service.unanswered");
                }
                Self::unavailable("pay-service", Duration::from_secs(5)).with_detail(format!(
                    "pay-service did not answer, so whether it took the recharge is unknown; it was asked under \
                     merchant_order_no {merchant_order_no}, and its result will be credited if there is one"
                ))
            }
        }
    }
}
