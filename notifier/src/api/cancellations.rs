//! Bulk cancels.

use axum::response::Response;
use runtime::Problem;
use runtime::http::described::{BodyProblems, ForeignMerchant, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Path, Query};
use runtime::keys::Caller;
use uuid::Uuid;

use super::State;
use super::bulk_documents::CancellationDocument;
use super::bulks::{self, BulkRequest, BulksQuery};
use crate::domain::BulkAction;

const PATH: &str = "/v1/cancellations";

/// Start a cancellation
///
/// It runs in the background, also after a restart; what comes in later is left out. Results of attempts under
/// way no longer count.
#[utoipa::path(
    post,
    path = "/v1/cancellations",
    tag = "cancellations",
    security(("key" = [])),
    request_body = BulkRequest,
    responses(
        (status = 202, description = "Started; watch it at `GET /v1/cancellations/{id}`", body = CancellationDocument),
        (status = 404, description = "The subscription is not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "As many replays and cancellations of the merchant run as may", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn create(
    state: State,
    caller: Caller,
    Json(request): Json<BulkRequest>,
) -> Result<Response, Problem> {
    bulks::start::<CancellationDocument>(&state, &caller, BulkAction::Cancellation, request, PATH).await
}

/// List cancellations, newest first
#[utoipa::path(
    get,
    path = "/v1/cancellations",
    tag = "cancellations",
    security(("key" = [])),
    params(BulksQuery),
    responses(
        (status = 200, description = "A page of cancellations", body = List<CancellationDocument>),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Query(query): Query<BulksQuery>,
) -> Result<Json<List<CancellationDocument>>, Problem> {
    bulks::list(&state, &caller, BulkAction::Cancellation, query).await
}

/// Watch a cancellation
#[utoipa::path(
    get,
    path = "/v1/cancellations/{id}",
    tag = "cancellations",
    security(("key" = [])),
    params(("id" = Uuid, Path, description = "The cancellation")),
    responses(
        (status = 200, description = "How far it is", body = CancellationDocument),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    )
)]
pub async fn show(
    state: State,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<CancellationDocument>, Problem> {
    bulks::show(&state, &caller, BulkAction::Cancellation, id).await
}
