//! Rotating what a subscription's webhooks are signed with, and testing its endpoint.

use std::time::Duration;

use messaging::webhook::Scheme;
use runtime::Problem;
use runtime::duration::HumanDuration;
use runtime::http::described::{BodyProblems, KeyedProblems};
use runtime::http::{Json, OptionalJson, Path};
use runtime::keys::Caller;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{Overlap, Signature, Why};
use super::documents::AttemptDocument;
use super::signing_documents::RotatedSecret;
use super::subscription_ref::SubscriptionRef;
use super::{State, no_subscription};
use crate::domain::SubscriptionAction;
use crate::usecases::subscribe;
use crate::usecases::test_subscription::TestError;

/// How to rotate.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "overlap": "24h" }))]
pub struct RotateSecret {
    /// How long the secret before is signed with beside the new one, 0s to 168h; 24h if absent
    #[schema(value_type = Option<Overlap>)]
    overlap: Option<HumanDuration>,
    /// `v1` or `v1a`; as before if absent
    #[schema(value_type = Option<Signature>)]
    signature: Option<Scheme>,
    /// Kept in the subscription's audit trail
    #[schema(value_type = Option<Why>)]
    reason: Option<String>,
}

/// Rotate the secret or key pair
///
/// During the overlap every webhook carries a signature for each live key, at most five.
#[utoipa::path(
    post,
    path = "/v1/subscriptions/{id}/rotate-secret",
    operation_id = "rotateSubscriptionSecret",
    tag = "subscriptions",
    security(("key" = [])),
    params(("id" = SubscriptionRef, Path, description = "The subscription: its id, or `name:` and its name")),
    request_body = Option<RotateSecret>,
    responses(
        (status = 200, description = "The new key", body = RotatedSecret),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn rotate_secret(
    state: State,
    caller: Caller,
    Path(named): Path<SubscriptionRef>,
    OptionalJson(request): OptionalJson<RotateSecret>,
) -> Result<Json<RotatedSecret>, Problem> {
    let tools = &state.tools;
    let RotateSecret { overlap, signature, reason } = request;
    let overlap = subscribe::overlap(overlap.unwrap_or(HumanDuration(Duration::from_hours(24))))?;
    let audit = tools.subscription_audit(SubscriptionAction::RotateSecret, &caller, reason)?;
    let id = named.find(&*tools.store, &caller).await?;
    let owner = caller.merchant();
    let rotated = subscribe::rotate_secret(tools, id, owner, signature, overlap, &audit).await?;
    Ok(Json(RotatedSecret::new(id.0, &rotated.ok_or_else(no_subscription)?)))
}

/// Nothing to choose.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub struct TestSubscription {}

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestedSubscription {
    /// The id of the test event, which the receiver saw as `webhook-id`.
    event_id: String,
    #[serde(flatten)]
    attempt: AttemptDocument,
}

/// Send a test event
///
/// A signed event of type `ringback.test` goes out at once, outside ladder and log; the answer tells
/// what came of it.
#[utoipa::path(
    post,
    path = "/v1/subscriptions/{id}/test",
    operation_id = "testSubscription",
    tag = "subscriptions",
    security(("key" = [])),
    params(("id" = SubscriptionRef, Path, description = "The subscription: its id, or `name:` and its name")),
    request_body = Option<TestSubscription>,
    responses(
        (status = 200, description = "Sent; the answer tells what came of it", body = TestedSubscription),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "As many tests of the merchant are under way as may be", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn test(
    state: State,
    caller: Caller,
    Path(named): Path<SubscriptionRef>,
    OptionalJson(TestSubscription {}): OptionalJson<TestSubscription>,
) -> Result<Json<TestedSubscription>, Problem> {
    let id = named.find(&*state.tools.store, &caller).await?;
    let tested = state.tests.test(id, caller.merchant()).await;
    let tested = tested.map_err(|error| match error {
        TestError::Busy | TestError::LimitReached(_) => {
            Problem::too_many_requests(error.to_string(), Duration::from_secs(5))
        }
        TestError::Store(error) => error.into(),
    })?;
    let tested = tested.ok_or_else(no_subscription)?;
    Ok(Json(TestedSubscription { event_id: tested.event_id, attempt: (&tested.attempt).into() }))
}
