//! Exceptions: looked at, and decided upon.

use axum::extract::State;
use chrono::{DateTime, Utc};
use runtime::http::described::{BodyProblems, Cursor, KeyedProblems, Limit, QueryProblems, TxNo};
use runtime::http::{Json, List, OperatorOnly, Page, Path, Query};
use runtime::keys::Caller;
use runtime::problem::Problem;
use runtime::validation::{Invalid, Violations, text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::AppState;
use super::access::Owner;
use super::described::{ExceptionWord, Kind, Source, Why};
use super::reason::MAX_REASON_CHARS;
use crate::domain::{
    Action, CantResolve, Exception, ExceptionFilter, ExceptionKind, ExceptionState, Resolution, Resolve,
    StateName, UnknownWord,
};

/// Which exceptions, and which page of them.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExceptionQuery {
    /// Only those in this state
    #[param(value_type = Option<ExceptionWord>)]
    state: Option<String>,
    /// Only those of this kind
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// Only those about this recharge
    #[param(value_type = Option<TxNo>)]
    tx_no: Option<Uuid>,
    /// The `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many items at most; 50 when left out
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// Something that does not fit, with what is needed to judge it.
#[derive(Serialize, ToSchema)]
#[schema(as = Exception)]
pub(super) struct ExceptionView {
    /// Its id
    id: Uuid,
    /// `unknown_account`, `currency_mismatch`, `contradicts_request`, `contradicts_credit`,
    /// `order_credited_already`, `overflow`, `not_at_pay_service`, `not_taken` or `wrong_answer`
    #[schema(value_type = Kind)]
    kind: &'static str,
    /// `open`, `credited`, `dismissed` or `closed`
    #[schema(value_type = ExceptionWord)]
    state: &'static str,
    /// pay-service's number for the recharge, where it is known
    tx_no: Option<Uuid>,
    /// The merchant's number for it, where it is known
    merchant_order_no: Option<String>,
    /// How it came: `webhook`, `queue`, `query`, `sweep`, `statement` or `request`
    #[schema(value_type = Source)]
    source: &'static str,
    /// The event that reported it first
    event_id: Option<String>,
    /// What is wrong
    #[schema(example = "there is no such account")]
    detail: String,
    /// What was reported first, as it was received
    #[schema(value_type = Value)]
    received: Option<Box<RawValue>>,
    /// The last report that differs
    #[schema(value_type = Value)]
    contradiction: Option<Box<RawValue>>,
    /// What the books held when it came first: `account`, `request`, and `credit`, which is the order's
    /// other credit where the kind is `order_credited_already`
    #[schema(value_type = Value)]
    recorded: Option<Box<RawValue>>,
    /// When it came first
    first_seen: DateTime<Utc>,
    /// When it came last
    last_seen: DateTime<Utc>,
    /// How often it came
    #[schema(example = 3)]
    count: u64,
    /// What became of it; `null` while it is open
    resolution: Option<ResolutionView>,
}

/// Who ended it, when and why.
#[derive(Serialize, ToSchema)]
#[schema(as = Resolution)]
struct ResolutionView {
    /// `operator`, or `account-service` when its cause went away
    #[schema(example = "operator")]
    by: String,
    /// Why
    #[schema(example = "the account was opened under a wrong number")]
    reason: String,
    /// When
    at: DateTime<Utc>,
}

impl From<Exception> for ExceptionView {
    fn from(exception: Exception) -> Self {
        let (state, incident) = (exception.state_name(), exception.incident);
        let json = |text: Box<str>| RawValue::from_string(text.into()).ok();
        Self {
            id: exception.id,
            kind: incident.kind.as_str(),
            state: state.as_str(),
            tx_no: incident.tx_no,
            merchant_order_no: incident.merchant_order_no,
            source: incident.source.as_str(),
            event_id: incident.event_id,
            detail: incident.detail,
            received: incident.received.and_then(json),
            contradiction: exception.contradiction.and_then(json),
            recorded: json(exception.recorded),
            first_seen: exception.first_seen,
            last_seen: exception.last_seen,
            count: exception.count,
            resolution: match exception.state {
                ExceptionState::Open => None,
                ExceptionState::Resolved(Resolution { by, reason, at, .. }) => {
                    Some(ResolutionView { by, reason, at })
                }
            },
        }
    }
}

/// List exceptions, newest first
#[utoipa::path(get, path = "/v1/exceptions", operation_id = "listExceptions", tag = "exceptions", security(("key" = [])),
    params(ExceptionQuery),
    responses(
        (status = 200, description = "One page of exceptions", body = List<ExceptionView>),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, QueryProblems,
    ))]
pub(super) async fn list(
    _: Owner,
    State(app): AppState,
    Query(query): Query<ExceptionQuery>,
) -> Result<Json<List<ExceptionView>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let filter = query.filter().map_err(Problem::malformed_query)?;
    let exceptions = app.store.exceptions(filter, page).await?;
    Ok(Json(List::new(exceptions, page, |exception| exception.id).map(ExceptionView::from)))
}

impl ExceptionQuery {
    fn filter(&self) -> Result<ExceptionFilter, Invalid> {
        let mut violations = Violations::new();
        let states = StateName::ALL.map(StateName::as_str).join(", ");
        let kinds = ExceptionKind::ALL.map(ExceptionKind::as_str).join(", ");
        let state = self.state.as_deref().map(|word| known("state", word.parse(), &states));
        let kind = self.kind.as_deref().map(|word| known("kind", word.parse(), &kinds));
        let state = state.and_then(|state| violations.take(state));
        let kind = kind.and_then(|kind| violations.take(kind));
        violations.finish()?;
        Ok(ExceptionFilter { state, kind, tx_no: self.tx_no })
    }
}

fn known<T>(field: &str, word: Result<T, UnknownWord>, all: &str) -> Result<T, Invalid> {
    word.map_err(|_| Invalid::field(field, format!("must be one of {all}")))
}

/// Show an exception
#[utoipa::path(get, path = "/v1/exceptions/{id}", operation_id = "getException", tag = "exceptions", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The exception's id")),
    responses(
        (status = 200, description = "The exception", body = ExceptionView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such exception", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(
    _: Owner,
    State(app): AppState,
    Path(id): Path<Uuid>,
) -> Result<Json<ExceptionView>, Problem> {
    let exception = app.store.exception(id).await?.ok_or_else(no_such_exception)?;
    Ok(Json(exception.into()))
}

/// A person's decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Decision, example = json!({ "action": "dismiss", "reason": "the account was opened under a wrong number" }))]
pub(super) struct DecisionBody {
    /// `credit`: credit the result as it was reported; `dismiss`: nothing is to be done
    action: ActionName,
    /// With `credit`, where the order is credited already: the `tx_no` of that credit, which shows that it
    /// is meant; else left out
    #[schema(value_type = Option<TxNo>)]
    despite: Option<Uuid>,
    /// Why; kept with the exception
    #[schema(value_type = Why)]
    reason: String,
}

/// What can be done.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DecisionAction)]
enum ActionName {
    /// Credit the result as it was reported
    Credit,
    /// Nothing
    Dismiss,
}

/// Decide about an exception
///
/// Crediting posts the result exactly once, in one transaction with the decision, whatever else is
/// crediting it. Who decided, when and why is kept.
#[utoipa::path(post, path = "/v1/exceptions/{id}/resolve", operation_id = "resolveException", tag = "exceptions", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The exception's id")),
    request_body = DecisionBody,
    responses(
        (status = 200, description = "Decided", body = ExceptionView),
        (status = 403, description = "Only the operator decides", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such exception", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not open any more, or the books can't take the credit", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, BodyProblems,
    ))]
pub(super) async fn resolve(
    _: OperatorOnly,
    caller: Caller,
    State(app): AppState,
    Path(id): Path<Uuid>,
    Json(body): Json<DecisionBody>,
) -> Result<Json<ExceptionView>, Problem> {
    text("reason", &body.reason, MAX_REASON_CHARS)?;
    let action = match (body.action, body.despite) {
        (ActionName::Credit, None) => Action::Credit,
        (ActionName::Credit, Some(other)) => Action::CreditDespite(other),
        (ActionName::Dismiss, None) => Action::Dismiss,
        (ActionName::Dismiss, Some(_)) => {
            return Err(Invalid::field("despite", "must be left out with `dismiss`").into());
        }
    };
    let decision = Resolve { action, by: caller.to_string(), reason: body.reason };
    let resolved = app.store.resolve(id, &decision, app.clock.now()).await?;
    let exception = resolved.ok_or_else(no_such_exception)??;
    tracing::info!(exception.id = %id, exception.state = exception.state_name().as_str(), "exception.resolved");
    Ok(Json(exception.into()))
}

fn no_such_exception() -> Problem {
    Problem::not_found("there is no such exception")
}

impl From<CantResolve> for Problem {
    fn from(refused: CantResolve) -> Self {
        let detail = refused.to_string();
        match refused {
            CantResolve::NothingToCredit => Self::invalid(Invalid::field("action", detail)),
            CantResolve::NothingToCreditDespite => Self::invalid(Invalid::field("despite", detail)),
            CantResolve::Resolved(_)
            | CantResolve::ToldInTwoWays
            | CantResolve::CreditedAlready
            | CantResolve::OrderCreditedAlready(_)
            | CantResolve::Refused(_) => Self::conflict(detail),
        }
    }
}
