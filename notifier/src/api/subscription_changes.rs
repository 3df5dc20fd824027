//! Changing and deleting subscriptions.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use runtime::Problem;
use runtime::duration::HumanDuration;
use runtime::http::described::{BodyProblems, KeyedProblems, QueryProblems};
use runtime::http::{Json, Path, Query};
use runtime::keys::Caller;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::described::{
    Headers, InFlight, Ladder, Patterns, Rate, State as StateWord, SubscriptionName, SubscriptionNote,
    Timeout, Url, Why,
};
use super::described_ack::Ack;
use super::documents::SubscriptionDocument;
use super::subscription_ref::SubscriptionRef;
use super::subscriptions::document;
use super::{State, no_subscription};
use crate::domain::subscription::Patch;
use crate::domain::{AckRule, Schedule, SubscriptionAction, SubscriptionAudit, SubscriptionState};
use crate::store::PatchRefused;

/// What is to change; what is absent stays. `null` is allowed for `description` and `rate_limit`,
/// which it clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateSubscription, example = json!({ "ladder": ["1m", "5m"], "state": "paused", "reason": "the receiver is being moved" }))]
#[expect(clippy::option_option, reason = "absent, null and a value are three different wishes")]
pub struct PatchSubscription {
    /// A new name
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = SubscriptionName)]
    name: Option<String>,
    /// A new address
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Url)]
    url: Option<String>,
    /// Other events
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Patterns)]
    event_types: Option<Vec<String>>,
    /// Another note; `null` removes it
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<SubscriptionNote>)]
    description: Option<Option<String>>,
    /// Applies from the next failure on
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Ladder)]
    ladder: Option<Schedule>,
    /// Another acknowledgement
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Ack)]
    ack: Option<AckRule>,
    /// Another timeout
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Timeout)]
    timeout: Option<HumanDuration>,
    /// Another bound
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = InFlight)]
    max_in_flight: Option<u32>,
    /// Another rate; `null` removes it
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Rate>)]
    rate_limit: Option<Option<u32>>,
    /// Replaces all headers
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Headers)]
    headers: Option<BTreeMap<String, String>>,
    /// `active`, `paused` or `disabled`
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = StateWord)]
    state: Option<WantedState>,
    /// Kept in the subscription's audit trail
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Why)]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WantedState {
    Active,
    Paused,
    Disabled,
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl PatchSubscription {
    fn patch(self, caller: &Caller) -> Patch {
        let state = self.state.map(|wanted| match wanted {
            WantedState::Active => SubscriptionState::Active,
            WantedState::Paused => SubscriptionState::Paused,
            WantedState::Disabled => SubscriptionState::Disabled { reason: format!("disabled by {caller}") },
        });
        Patch {
            name: self.name,
            url: self.url,
            event_types: self.event_types,
            description: self.description,
            schedule: self.ladder,
            ack: self.ack,
            timeout: self.timeout,
            max_in_flight: self.max_in_flight,
            rate_limit: self.rate_limit,
            headers: self.headers,
            state,
        }
    }
}

/// Change a subscription
///
/// `paused` and `disabled` hold its notifications back; `active` lets them go out.
#[utoipa::path(
    patch,
    path = "/v1/subscriptions/{id}",
    operation_id = "updateSubscription",
    tag = "subscriptions",
    security(("key" = [])),
    params(("id" = SubscriptionRef, Path, description = "The subscription: its id, or `name:` and its name")),
    request_body = PatchSubscription,
    responses(
        (status = 200, description = "The changed subscription", body = SubscriptionDocument),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn patch(
    state: State,
    caller: Caller,
    Path(named): Path<SubscriptionRef>,
    Json(mut request): Json<PatchSubscription>,
) -> Result<Json<SubscriptionDocument>, Problem> {
    let tools = &state.tools;
    let reason = request.reason.take();
    let patch = request.patch(&caller);
    let audit = tools.subscription_audit(SubscriptionAction::of(&patch), &caller, reason)?;
    let audit = SubscriptionAudit { changed: patch.fields(), ..audit };
    let id = named.find(&*tools.store, &caller).await?;
    let patched = tools.store.patch(id, caller.merchant(), &patch, &audit).await?;
    let subscription = patched.ok_or_else(no_subscription)?.map_err(|refused| match refused {
        PatchRefused::Invalid(invalid) => invalid.into(),
        PatchRefused::NameTaken(taken) => Problem::conflict(taken.to_string()),
    })?;
    if patch.state == Some(SubscriptionState::Active) {
        tools.schedule.look_unpaused(id);
    }
    tools.schedule.look_now();
    Ok(Json(document(tools, &subscription).await?))
}

/// Why it is deleted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Kept in the subscription's audit trail
    #[param(value_type = Option<Why>)]
    reason: Option<String>,
}

/// Delete a subscription
///
/// What was pending for it is cancelled; the log and the audit trail stay. Its name is free again.
#[utoipa::path(
    delete,
    path = "/v1/subscriptions/{id}",
    operation_id = "deleteSubscription",
    tag = "subscriptions",
    security(("key" = [])),
    params(("id" = SubscriptionRef, Path, description = "The subscription: its id, or `name:` and its name"), DeleteQuery),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn delete(
    state: State,
    caller: Caller,
    Path(named): Path<SubscriptionRef>,
    Query(DeleteQuery { reason }): Query<DeleteQuery>,
) -> Result<StatusCode, Problem> {
    let tools = &state.tools;
    let audit = tools.subscription_audit(SubscriptionAction::Delete, &caller, reason);
    let audit = audit.map_err(Problem::malformed_query)?;
    let id = named.find(&*tools.store, &caller).await?;
    let there = tools.store.delete(id, caller.merchant(), &audit).await?;
    if !there {
        return Err(no_subscription());
    }
    tools.upkeep.notify_one();
    Ok(StatusCode::NO_CONTENT)
}
