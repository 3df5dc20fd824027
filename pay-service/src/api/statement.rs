//! `GET /v1/recharges`: the statement that receivers reconcile against.

use runtime::Problem;
use runtime::http::described::{
    Cursor, ForeignMerchant, KeyedProblems, Limit, MerchantName, QueryProblems, TxNo,
};
use runtime::http::{Json, List, Page, Query, Timestamp};
use runtime::keys::Caller;
use runtime::validation::{Invalid, Violations};
use serde::Deserialize;
use uuid::Uuid;

use super::described::{AccountNumber, RechargeStatus};
use super::{State, wrong_parameter};
use crate::document::RechargeDocument;
use crate::domain::order::account_no;
use crate::domain::{Statement, StatusName};

/// Which recharges, and which page of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementQuery {
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
    /// Where the page starts: the `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// Where the page starts, instead of a cursor: after the recharge of this `tx_no`, which need not be there
    #[param(value_type = Option<TxNo>)]
    after: Option<Uuid>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// The statement
///
/// Oldest first. New recharges come at its end, so walking it page by page misses none.
#[utoipa::path(
    get,
    path = "/v1/recharges",
    operation_id = "listRecharges",
    tag = "recharges",
    security(("key" = [])),
    params(StatementQuery),
    responses(
        (status = 200, description = "A page of the statement", body = List<RechargeDocument>),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Query(query): Query<StatementQuery>,
) -> Result<Json<List<RechargeDocument>>, Problem> {
    let page = query.page()?;
    let StatementQuery { merchant, status, account_no, created_from, created_to, .. } = query;
    let asked =
        statement(merchant, status, account_no, (created_from, created_to)).map_err(wrong_parameter)?;
    let statement = narrowed(&caller, asked)?;
    let rows = state.tools.store.statement(&statement, page).await?;
    let list = List::new(rows, page, |recharge| recharge.tx_no);
    Ok(Json(list.map(|recharge| RechargeDocument::from(&recharge))))
}

impl StatementQuery {
    /// A cursor leads on from a page of ours; `after` from wherever a walk was left.
    fn page(&self) -> Result<Page, Problem> {
        let page = Page::parse(self.limit, self.cursor.as_deref())?;
        match self.after {
            Some(_) if page.after.is_some() => {
                Err(wrong_parameter(Invalid::field("after", "must be absent where there is a cursor")))
            }
            after => Ok(Page { after: page.after.or(after), ..page }),
        }
    }
}

/// The statement that these parameters ask for.
pub(super) fn statement(
    merchant: Option<String>,
    status: Option<String>,
    account: Option<String>,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
) -> Result<Statement, Invalid> {
    let mut violations = Violations::new();
    let status = status.and_then(|name| violations.take(named_status(&name)));
    violations.take(account.as_deref().map_or(Ok(()), account_no));
    violations.finish()?;
    let time = |timestamp: Option<Timestamp>| timestamp.map(|Timestamp(time)| time);
    Ok(Statement { merchant, status, account_no: account, created_from: time(from), created_to: time(to) })
}

/// What of `statement` the caller may see: a merchant its own.
pub(super) fn narrowed(caller: &Caller, statement: Statement) -> Result<Statement, Problem> {
    match &statement.merchant {
        Some(named) => super::check_merchant(caller, named).map(|()| statement),
        None => Ok(Statement { merchant: caller.merchant().map(str::to_owned), ..statement }),
    }
}

fn named_status(name: &str) -> Result<StatusName, Invalid> {
    StatusName::named(name).ok_or_else(|| {
        let known = StatusName::ALL.map(StatusName::as_str).join(", ");
        Invalid::field("status", format!("must be one of {known}"))
    })
}
