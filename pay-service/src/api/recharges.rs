//! `POST /v1/recharges`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime::Problem;
use runtime::http::Json;
use runtime::http::described::{BodyProblems, KeyedProblems, MerchantName};
use runtime::keys::{Caller, is_merchant_name};
use runtime::validation::Invalid;
use serde::Deserialize;
use utoipa::ToSchema;

use super::State;
use super::described::{AccountNumber, Attachment, ChannelName, CurrencyCode, MinorUnits, OrderNumber};
use crate::document::RechargeDocument;
use crate::domain::{Order, OrderDraft};
use crate::usecases::create_recharge::Created;

/// An order to recharge an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "merchant_order_no": "order-1001", "account_no": "6222021001", "amount": 1000 }))]
pub struct CreateRecharge {
    /// Your own number of the order: the same number with the same content is the same order, however
    /// often it is sent
    #[schema(value_type = OrderNumber)]
    merchant_order_no: String,
    /// The account to recharge
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// In minor units (fen, cents)
    #[schema(value_type = MinorUnits)]
    amount: i64,
    /// `CNY` if absent
    #[schema(value_type = Option<CurrencyCode>)]
    currency: Option<String>,
    /// `instant` if absent
    #[schema(value_type = Option<ChannelName>)]
    channel: Option<String>,
    /// Your own text, at most 1024 bytes without the NUL character; comes back untouched
    #[schema(value_type = Option<Attachment>)]
    attach: Option<String>,
    /// Whose recharge it is: required with the operator key; with a merchant's key, its own name or absent
    #[schema(value_type = Option<MerchantName>)]
    merchant: Option<String>,
}

/// Take an order
///
/// Repeating a request is safe: the same order is answered with its first recharge.
#[utoipa::path(
    post,
    path = "/v1/recharges",
    operation_id = "createRecharge",
    tag = "recharges",
    security(("key" = [])),
    request_body = CreateRecharge,
    responses(
        (status = 201, description = "Taken", body = RechargeDocument, headers(("Location" = String, description = "Where its result can be asked for"))),
        (status = 200, description = "Taken before, as this recharge", body = RechargeDocument),
        (status = 403, description = "`merchant` names another merchant", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The order number was used for another order", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn create(
    state: State,
    caller: Caller,
    Json(request): Json<CreateRecharge>,
) -> Result<Response, Problem> {
    let order = request.order(&caller)?;
    let created = state.create.submit(order).await.map_err(|_| stopping())?;
    match created.map_err(|error| Problem::from(&*error))? {
        Created::New(recharge) => {
            let location = HeaderValue::try_from(format!("/v1/payresult/{}", recharge.tx_no))
                .expect("a path of letters, digits and dashes");
            let body = Json(RechargeDocument::from(&recharge));
            Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
        }
        Created::Before(recharge) => Ok(Json(RechargeDocument::from(&recharge)).into_response()),
        Created::Contradicts(recharge) => Err(Problem::conflict(format!(
            "merchant_order_no was used before with other content, for the recharge {}",
            recharge.tx_no
        ))),
    }
}

impl CreateRecharge {
    fn order(self, caller: &Caller) -> Result<Order, Problem> {
        let merchant = owner(caller, self.merchant)?;
        Ok(Order::new(OrderDraft {
            merchant,
            merchant_order_no: self.merchant_order_no,
            account_no: self.account_no,
            amount: self.amount,
            currency: self.currency,
            channel: self.channel,
            attach: self.attach,
        })?)
    }
}

/// Whose recharge it is to be.
fn owner(caller: &Caller, named: Option<String>) -> Result<String, Problem> {
    match (caller, named) {
        (Caller::Merchant(own), None) => Ok(own.clone()),
        (Caller::Merchant(own), Some(named)) if *own == named => Ok(named),
        (Caller::Merchant(_), Some(_)) => Err(Problem::forbidden("a merchant's key recharges only its own")),
        (Caller::Operator(_), Some(named)) if is_merchant_name(&named) => Ok(named),
        (Caller::Operator(_), Some(_)) => {
            let right = "must have 1 to 64 letters, digits, `-`, `_` or `.`";
            Err(Invalid::field("merchant", right).into())
        }
        (Caller::Operator(_), None) => {
            Err(Invalid::field("merchant", "is required with the operator key").into())
        }
    }
}

fn stopping() -> Problem {
    Problem::unavailable("the service", std::time::Duration::from_secs(1))
}
