//! Bulk resends.

use axum::response::Response;
use runtime::Problem;
use runtime::http::described::{BodyProblems, ForeignMerchant, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Path, Query};
use runtime::keys::Caller;
use uuid::Uuid;

use super::State;
use super::bulk_documents::ReplayDocument;
use super::bulks::{self, BulkRequest, BulksQuery};
use crate::domain::BulkAction;

const PATH: &str = "/v1/replays";

/// Start a replay
///
/// It runs in the background, also after a restart; what comes in later is left out.
#[utoipa::path(
    post,
    path = "/v1/replays",
    tag = "replays",
    security(("key" = [])),
    request_body = BulkRequest,
    responses(
        (status = 202, description = "Started; watch it at `GET /v1/replays/{id}`", body = ReplayDocument),
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
    bulks::start::<ReplayDocument>(&state, &caller, BulkAction::Replay, request, PATH).await
}

/// List replays, newest first
#[utoipa::path(
    get,
    path = "/v1/replays",
    tag = "replays",
    security(("key" = [])),
    params(BulksQuery),
    responses(
        (status = 200, description = "A page of replays", body = List<ReplayDocument>),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Query(query): Query<BulksQuery>,
) -> Result<Json<List<ReplayDocument>>, Problem> {
    bulks::list(&state, &caller, BulkAction::Replay, query).await
}

/// Watch a replay
#[utoipa::path(
    get,
    path = "/v1/replays/{id}",
    tag = "replays",
    security(("key" = [])),
    params(("id" = Uuid, Path, description = "The replay")),
    responses(
        (status = 200, description = "How far it is", body = ReplayDocument),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    )
)]
pub async fn show(
    state: State,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<ReplayDocument>, Problem> {
    bulks::show(&state, &caller, BulkAction::Replay, id).await
}
