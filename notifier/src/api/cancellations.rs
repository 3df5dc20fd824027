//! Bulk cancels.

use axum::response::Response;
use runtime::Problem;
use runtime::http::described::{BodyProblems, ForeignMerchant, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Path, Query, Timestamp};
use runtime::keys::Caller;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::State;
use super::bulk_documents::CancellationDocument;
use super::bulks::{self, BulksQuery, Wanted};
use super::described::{CancellationStates, Failures, Pattern, Why};
use super::subscription_ref::SubscriptionRef;
use super::words::Words;
use crate::domain::BulkAction;

const PATH: &str = "/v1/cancellations";

/// Which notifications are cancelled. All that is given must match, as they stand when it is their turn.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "subscription_id": "019b76da-a800-7000-8000-000000000002", "state": ["pending"], "reason": "the receiver was down"
}))]
pub struct CancellationRequest {
    /// Of this subscription
    subscription_id: SubscriptionRef,
    /// Only those in these states
    #[schema(value_type = Option<CancellationStates>)]
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
}

impl CancellationRequest {
    fn wanted(self) -> (Wanted, Option<String>) {
        let wanted = Wanted {
            subscription: Some(self.subscription_id),
            state: self.state,
            event_type: self.event_type,
            failure_class: self.failure_class,
            created_from: self.created_from,
            created_to: self.created_to,
        };
        (wanted, self.reason)
    }
}

/// Start a cancellation
///
/// It runs in the background, also after a restart; what comes in later is left out. Results of attempts under
/// way no longer count.
#[utoipa::path(
    post,
    path = "/v1/cancellations",
    operation_id = "createCancellation",
    tag = "cancellations",
    security(("key" = [])),
    request_body = CancellationRequest,
    responses(
        (status = 202, description = "Started; watch it at `GET /v1/cancellations/{id}`", body = CancellationDocument, headers(("Location" = String, description = "Where it can be watched"))),
        (status = 404, description = "The subscription is not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "As many replays and cancellations of the merchant run as may", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn create(
    state: State,
    caller: Caller,
    Json(request): Json<CancellationRequest>,
) -> Result<Response, Problem> {
    bulks::start::<CancellationDocument>(&state, &caller, BulkAction::Cancellation, request.wanted(), PATH)
        .await
}

/// List cancellations, newest first
#[utoipa::path(
    get,
    path = "/v1/cancellations",
    operation_id = "listCancellations",
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
    operation_id = "getCancellation",
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
