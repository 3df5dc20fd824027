//! `GET /v1/payresult`: the check-back interface (消息校对).

use runtime::Problem;
use runtime::http::described::{KeyedProblems, MerchantName, QueryProblems, TxNo};
use runtime::http::{Json, Path, Query};
use runtime::keys::Caller;
use runtime::validation::Invalid;
use serde::Deserialize;
use uuid::Uuid;

use super::described::OrderNumber;
use super::{State, wrong_parameter};
use crate::document::RechargeDocument;
use crate::domain::{OrderNo, Recharge};

/// Which order's result.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrderQuery {
    /// The merchant's own number of the order
    #[param(value_type = OrderNumber)]
    merchant_order_no: String,
    /// Whose order it is: required with the operator key
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
}

/// The result of a recharge, by our number
#[utoipa::path(
    get,
    path = "/v1/payresult/{tx_no}",
    operation_id = "getPayResult",
    tag = "payresult",
    security(("key" = [])),
    params(("tx_no" = TxNo, Path, description = "Our number of the recharge")),
    responses(
        (status = 200, description = "The recharge", body = RechargeDocument),
        (status = 404, description = "No recharge of yours has this number", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    )
)]
pub async fn of_number(
    state: State,
    caller: Caller,
    Path(tx_no): Path<Uuid>,
) -> Result<Json<RechargeDocument>, Problem> {
    let found = state.tools.store.recharge(tx_no).await?;
    shown(found.filter(|recharge| caller.may_see(Some(&recharge.order.merchant))))
}

/// The result of a recharge, by the merchant's own number
#[utoipa::path(
    get,
    path = "/v1/payresult",
    operation_id = "findPayResult",
    tag = "payresult",
    security(("key" = [])),
    params(OrderQuery),
    responses(
        (status = 200, description = "The recharge", body = RechargeDocument),
        (status = 404, description = "No recharge of yours has this number", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn of_order(
    state: State,
    caller: Caller,
    Query(query): Query<OrderQuery>,
) -> Result<Json<RechargeDocument>, Problem> {
    let order_no = OrderNo::new(query.merchant_order_no).map_err(wrong_parameter)?;
    let merchant = query.merchant.as_deref().or(caller.merchant());
    let merchant = merchant
        .ok_or_else(|| wrong_parameter(Invalid::field("merchant", "is required with the operator key")))?;
    super::check_merchant(&caller, merchant)?;
    shown(state.tools.store.recharge_of_order(merchant, &order_no).await?)
}

fn shown(found: Option<Recharge>) -> Result<Json<RechargeDocument>, Problem> {
    let recharge = found.ok_or_else(|| Problem::not_found("no recharge of yours has this number"))?;
    Ok(Json(RechargeDocument::from(&recharge)))
}
