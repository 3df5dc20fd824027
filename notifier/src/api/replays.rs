//! Bulk resends.

use axum::response::{IntoResponse, Response};
use runtime::Problem;
use runtime::http::described::{BodyProblems, ForeignMerchant, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Path, Query, Timestamp};
use runtime::keys::Caller;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::bulk_documents::{ReplayDocument, ReplayPreviewDocument};
use super::bulks::{self, BulksQuery, Wanted};
use super::described::{Failures, Pattern, ReplayStates, Why};
use super::subscription_ref::SubscriptionRef;
use super::words::Words;
use super::{State, no_subscription};
use crate::domain::BulkAction;
use crate::usecases::{bulk, check_reason};

const PATH: &str = "/v1/replays";

/// Which notifications are resent. All that is given must match, as they stand when it is their turn.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "subscription_id": "019b76da-a800-7000-8000-000000000002", "state": ["pending"], "reason": "the receiver was down"
}))]
pub struct ReplayRequest {
    /// Of this subscription; with the operator key it may be absent: of every subscription
    subscription_id: Option<SubscriptionRef>,
    /// Only those in these states; `undelivered` stands for all but delivered and cancelled
    #[schema(value_type = Option<ReplayStates>)]
    state: Option<Words>,
    /// Only those about events of this type, or of a family such as `recharge.*`
    #[schema(value_type = Option<Pattern>)]
    event_type: Option<String>,
    /// Only those whose last attempt failed for one of these reasons, and those not tried yet that wait behind an
    /// endpoint which did; written like `state`
    #[schema(value_type = Option<Failures>)]
    failure_class: Option<Words>,
    /// Only those that came in then or later
    #[schema(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those that came in before then
    #[schema(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
    /// Kept in the audit trail of every notification
    #[schema(value_type = Option<Why>)]
    reason: Option<String>,
    /// Only say what would be sent: nothing is, and nothing is started
    #[schema(default = false)]
    dry_run: Option<bool>,
}

impl ReplayRequest {
    fn wanted(self) -> (Wanted, Option<String>) {
        let wanted = Wanted {
            subscription: self.subscription_id,
            state: self.state,
            event_type: self.event_type,
            failure_class: self.failure_class,
            created_from: self.created_from,
            created_to: self.created_to,
        };
        (wanted, self.reason)
    }
}

/// Start a replay
///
/// It runs in the background, also after a restart; what comes in later is left out.
#[utoipa::path(
    post,
    path = "/v1/replays",
    operation_id = "createReplay",
    tag = "replays",
    security(("key" = [])),
    request_body = ReplayRequest,
    responses(
        (status = 200, description = "With `dry_run`: what would be sent; nothing is", body = ReplayPreviewDocument),
        (status = 202, description = "Started; watch it at `GET /v1/replays/{id}`", body = ReplayDocument, headers(("Location" = String, description = "Where it can be watched"))),
        (status = 404, description = "The subscription is not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "As many replays and cancellations of the merchant run as may", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn create(
    state: State,
    caller: Caller,
    Json(request): Json<ReplayRequest>,
) -> Result<Response, Problem> {
    let is_dry = request.dry_run.unwrap_or_default();
    let (wanted, reason) = request.wanted();
    if !is_dry {
        return bulks::start::<ReplayDocument>(&state, &caller, BulkAction::Replay, (wanted, reason), PATH)
            .await;
    }
    check_reason(reason.as_deref())?;
    let filter = wanted.filter(&state, &caller, BulkAction::Replay).await?;
    let preview = bulk::preview(&state.tools, &caller, filter.clone()).await.map_err(bulks::problem)?;
    let preview = preview.ok_or_else(no_subscription)?;
    Ok(Json(ReplayPreviewDocument::new(&filter, &preview)).into_response())
}

/// List replays, newest first
#[utoipa::path(
    get,
    path = "/v1/replays",
    operation_id = "listReplays",
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
    operation_id = "getReplay",
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
