//! `/v1/reconciliations`: whole periods compared with pay-service's statement.

use axum::extract::State;
use axum::http::StatusCode;
use runtime::http::described::{BodyProblems, Cursor, KeyedProblems, Limit, QueryProblems};
use runtime::http::{Json, List, OptionalJson, Page, Path, Query, Timestamp};
use runtime::keys::Caller;
use runtime::problem::Problem;
use runtime::validation::Invalid;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::AppState;
use super::access::Owner;
use super::described::DifferenceWord;
use super::page::PageQuery;
use super::reason::ReasonBody;
use super::reconciliation_view::{DifferenceView, ReconciliationView};
use crate::domain::{Cancellation, DifferenceKind, Period};

/// The period to reconcile.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Period, example = json!({ "from": "2025-12-30T00:00:00Z", "to": "2025-12-31T00:00:00Z" }))]
pub(super) struct PeriodBody {
    /// Recharges created then or later; a whole millisecond
    #[schema(value_type = String, format = DateTime, example = "2025-12-30T00:00:00Z")]
    from: Timestamp,
    /// Recharges created before then; a whole millisecond, at least a minute in the past
    #[schema(value_type = String, format = DateTime, example = "2025-12-31T00:00:00Z")]
    to: Timestamp,
}

/// Which differences, and which page of them.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DifferenceQuery {
    /// Only those of this kind
    #[param(value_type = Option<DifferenceWord>)]
    kind: Option<String>,
    /// The `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many items at most; 50 when left out
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// Reconcile a period
///
/// Pay-service's statement of the period is walked along page by page, beside the credits here. What succeeded
/// there and is missing here is credited, once; every other difference is kept as an exception. It goes on in
/// the background, restarts included: watch it at `GET /v1/reconciliations/{id}`.
#[utoipa::path(post, path = "/v1/reconciliations", operation_id = "createReconciliation", tag = "reconciliations", security(("key" = [])),
    request_body = PeriodBody,
    responses(
        (status = 202, description = "It is under way", body = ReconciliationView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Too many are under way", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, BodyProblems,
    ))]
pub(super) async fn create(
    _: Owner,
    caller: Caller,
    State(app): AppState,
    Json(body): Json<PeriodBody>,
) -> Result<(StatusCode, Json<ReconciliationView>), Problem> {
    let period = Period::over(body.from.0, body.to.0, app.clock.now())?;
    let begun = app.start_reconciliation.asked(period, caller.to_string()).await?;
    let begun = begun.ok_or_else(too_many)?;
    tracing::info!(reconciliation.id = %begun.id, "reconciliation.asked");
    Ok((StatusCode::ACCEPTED, Json(begun.into())))
}

/// List reconciliations, newest first
#[utoipa::path(get, path = "/v1/reconciliations", operation_id = "listReconciliations", tag = "reconciliations", security(("key" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "One page of reconciliations", body = List<ReconciliationView>),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, QueryProblems,
    ))]
pub(super) async fn list(
    _: Owner,
    State(app): AppState,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<ReconciliationView>>, Problem> {
    let page = query.page()?;
    let all = app.store.reconciliations(page).await?;
    Ok(Json(List::new(all, page, |reconciliation| reconciliation.id).map(ReconciliationView::from)))
}

/// Show a reconciliation: how far it has come, and what both sides come to
#[utoipa::path(get, path = "/v1/reconciliations/{id}", operation_id = "getReconciliation", tag = "reconciliations", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The reconciliation's id")),
    responses(
        (status = 200, description = "The reconciliation", body = ReconciliationView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such reconciliation", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(
    _: Owner,
    State(app): AppState,
    Path(id): Path<Uuid>,
) -> Result<Json<ReconciliationView>, Problem> {
    let found = app.store.reconciliation(id).await?.ok_or_else(no_such_reconciliation)?;
    Ok(Json(found.into()))
}

/// List what a reconciliation has found, by `tx_no`
#[utoipa::path(get, path = "/v1/reconciliations/{id}/differences", operation_id = "listReconciliationDifferences", tag = "reconciliations", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The reconciliation's id"), DifferenceQuery),
    responses(
        (status = 200, description = "One page of differences", body = List<DifferenceView>),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such reconciliation", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, QueryProblems,
    ))]
pub(super) async fn differences(
    _: Owner,
    State(app): AppState,
    Path(id): Path<Uuid>,
    Query(query): Query<DifferenceQuery>,
) -> Result<Json<List<DifferenceView>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let kind = query.kind.as_deref().map(kind).transpose()?;
    app.store.reconciliation(id).await?.ok_or_else(no_such_reconciliation)?;
    let found = app.store.differences(id, kind, page).await?;
    Ok(Json(List::new(found, page, |difference| difference.tx_no).map(DifferenceView::from)))
}

/// Cancel a reconciliation
///
/// It ends where it stands: what it has credited and found stays, and a process that is at a page of it keeps
/// nothing of that. Who did it, when and why is kept. A nightly one is not begun again by itself.
#[utoipa::path(post, path = "/v1/reconciliations/{id}/cancel", operation_id = "cancelReconciliation", tag = "reconciliations", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The reconciliation's id")),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is cancelled", body = ReconciliationView),
        (status = 403, description = "Another merchant's key", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such reconciliation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is finished or cancelled already", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, BodyProblems,
    ))]
pub(super) async fn cancel(
    _: Owner,
    caller: Caller,
    State(app): AppState,
    Path(id): Path<Uuid>,
    OptionalJson(body): OptionalJson<ReasonBody>,
) -> Result<Json<ReconciliationView>, Problem> {
    let cancellation = Cancellation { by: caller.to_string(), at: app.clock.now(), reason: body.checked()? };
    let cancelled = app.store.cancel_reconciliation(id, &cancellation).await?;
    let cancelled = cancelled.ok_or_else(no_such_reconciliation)?;
    let cancelled = cancelled.map_err(|ended| Problem::conflict(ended.to_string()))?;
    tracing::info!(reconciliation.id = %id, "reconciliation.cancelled");
    Ok(Json(cancelled.into()))
}

fn kind(word: &str) -> Result<DifferenceKind, Problem> {
    word.parse().map_err(|_| {
        let kinds = DifferenceKind::ALL.map(DifferenceKind::as_str).join(", ");
        Problem::malformed_query(Invalid::field("kind", format!("must be one of {kinds}")))
    })
}

fn too_many() -> Problem {
    Problem::conflict(
        "too many reconciliations are under way; ask again when one of them is finished, or cancel one",
    )
}

fn no_such_reconciliation() -> Problem {
    Problem::not_found("there is no such reconciliation")
}
