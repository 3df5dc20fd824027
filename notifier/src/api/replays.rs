//! Resending many notifications.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime::Problem;
use runtime::http::described::{BodyProblems, KeyedProblems};
use runtime::http::{Json, Path, Timestamp};
use runtime::keys::Caller;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::documents::{ReplayDocument, time};
use super::{State, no_subscription, state_name};
use crate::domain::{ReplayFilter, SubscriptionId};
use crate::usecases::replay::{self, ReplayError};

/// Which notifications to resend.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateReplay {
    /// Of this subscription
    subscription_id: Uuid,
    /// Only those `pending`, `delivered`, `exhausted`, `cancelled` or `held`; all if absent
    #[schema(example = "exhausted")]
    state: Option<String>,
    /// Only those that came in then or later
    #[schema(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those that came in before then
    #[schema(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
    /// Kept in the audit trail of every notification; up to 500 characters
    reason: Option<String>,
}

/// Start a replay
///
/// It runs in the background, also after a restart; what comes in later is left out.
#[utoipa::path(
    post,
    path = "/v1/replays",
    tag = "replays",
    security(("key" = [])),
    request_body = CreateReplay,
    responses(
        (status = 202, description = "Started; watch it at `GET /v1/replays/{id}`", body = ReplayDocument),
        (status = 404, description = "The subscription is not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn create(
    state: State,
    caller: Caller,
    Json(request): Json<CreateReplay>,
) -> Result<Response, Problem> {
    let filter = ReplayFilter {
        subscription: SubscriptionId(request.subscription_id),
        state: request.state.map(|name| state_name("state", &name)).transpose()?,
        created_from: time(request.created_from),
        created_to: time(request.created_to),
    };
    let started = replay::start(&state.tools, &caller, filter, request.reason).await;
    let started = started.map_err(|error| match error {
        ReplayError::Invalid(invalid) => Problem::from(invalid),
        ReplayError::Store(error) => error.into(),
    })?;
    let replay = started.ok_or_else(no_subscription)?;
    let location = HeaderValue::try_from(format!("/v1/replays/{}", replay.id))
        .expect("a path of letters, digits and dashes");
    let body = Json(ReplayDocument::from(&replay));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response())
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
    let found = state.tools.store.replay(id, caller.merchant()).await?;
    let found = found.ok_or_else(|| Problem::not_found("there is no such replay"))?;
    Ok(Json((&found).into()))
}
