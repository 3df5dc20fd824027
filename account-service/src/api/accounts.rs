//! `POST /v1/accounts`, `GET /v1/accounts/{account_no}`.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use runtime::http::described::{BodyProblems, KeyedProblems};
use runtime::http::{Json, Path};
use runtime::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::Owner;
use super::described::{AccountName, AccountNumber, CurrencyCode};
use super::{AppState, account_no, no_such_account};
use crate::domain::{Account, NewAccount, Opened};

/// An account to open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAccount, example = json!({ "account_no": "6222021001", "account_name": "Zhang San" }))]
pub(super) struct NewAccountBody {
    /// Its number
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// Whose it is
    #[schema(value_type = AccountName)]
    account_name: String,
}

/// An account as it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountView {
    /// Its number
    #[schema(value_type = AccountNumber)]
    account_no: String,
    /// Whose it is
    #[schema(value_type = AccountName)]
    account_name: String,
    /// The sum of its credits, in minor units (fen)
    #[schema(example = 1000)]
    balance: i64,
    /// What it holds, by ISO 4217
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// When it was opened
    created_at: DateTime<Utc>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            account_no: account.account_no.to_string(),
            account_name: account.account_name,
            balance: account.balance,
            currency: account.currency.to_string(),
            created_at: account.created_at,
        }
    }
}

/// Open an account
///
/// Opening the same account again answers it as it stands.
#[utoipa::path(post, path = "/v1/accounts", operation_id = "createAccount", tag = "accounts", security(("key" = [])),
    request_body = NewAccountBody,
    responses(
        (status = 201, description = "Opened", body = AccountView),
        (status = 200, description = "It was opened before", body = AccountView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The number belongs to an account of another name", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, BodyProblems,
    ))]
pub(super) async fn create(
    _: Owner,
    State(app): AppState,
    Json(body): Json<NewAccountBody>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let wish = NewAccount::new(body.account_no, body.account_name)?;
    match app.store.open_account(&wish, app.clock.now()).await? {
        Opened::Created(account) => Ok((StatusCode::CREATED, Json(account.into()))),
        Opened::Existing(account) => Ok((StatusCode::OK, Json(account.into()))),
        Opened::Conflict => Err(Problem::conflict("this account_no belongs to an account of another name")),
    }
}

/// Show an account
#[utoipa::path(get, path = "/v1/accounts/{account_no}", operation_id = "getAccount", tag = "accounts", security(("key" = [])),
    params(("account_no" = AccountNumber, Path, description = "The account's number")),
    responses(
        (status = 200, description = "The account", body = AccountView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such account", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(
    _: Owner,
    State(app): AppState,
    Path(path): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let account = app.store.account(&account_no(path)?).await?.ok_or_else(no_such_account)?;
    Ok(Json(account.into()))
}
