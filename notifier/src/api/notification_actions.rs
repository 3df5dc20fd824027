//! Resending and cancelling a notification.

use runtime::Problem;
use runtime::http::described::{BodyProblems, KeyedProblems};
use runtime::http::{Json, OptionalJson, Path};
use runtime::keys::Caller;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::Why;
use super::documents::NotificationDocument;
use super::{State, no_notification};
use crate::domain::audit::Action;
use crate::domain::notification::Refused;
use crate::domain::{Notification, NotificationId};
use crate::usecases::Tools;

/// Why it is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reason": "the receiver had lost it" }))]
pub struct Reason {
    /// Kept in the notification's audit trail
    #[schema(value_type = Option<Why>)]
    reason: Option<String>,
}

/// Resend a notification
///
/// It is due at once and starts its ladder again, whatever its state; attempts keep counting.
#[utoipa::path(
    post,
    path = "/v1/notifications/{id}/resend",
    operation_id = "resendNotification",
    tag = "notifications",
    security(("key" = [])),
    params(("id" = Uuid, Path, description = "The notification")),
    request_body = Option<Reason>,
    responses(
        (status = 200, description = "The notification, due at once", body = NotificationDocument),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An attempt is under way, or the subscription is deleted", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn resend(
    state: State,
    caller: Caller,
    Path(id): Path<Uuid>,
    OptionalJson(Reason { reason }): OptionalJson<Reason>,
) -> Result<Json<NotificationDocument>, Problem> {
    let tools = &state.tools;
    let audit = tools.audit(Action::Resend, &caller, reason)?;
    let resent = tools.store.resend(NotificationId(id), caller.merchant(), &audit).await?;
    let resent = answer(tools, resent)?;
    tools.schedule.look_now();
    Ok(resent)
}

/// Cancel a notification
///
/// No attempt follows; the result of one under way no longer counts.
#[utoipa::path(
    post,
    path = "/v1/notifications/{id}/cancel",
    operation_id = "cancelNotification",
    tag = "notifications",
    security(("key" = [])),
    params(("id" = Uuid, Path, description = "The notification")),
    request_body = Option<Reason>,
    responses(
        (status = 200, description = "The notification, cancelled", body = NotificationDocument),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is delivered, exhausted or cancelled already", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn cancel(
    state: State,
    caller: Caller,
    Path(id): Path<Uuid>,
    OptionalJson(Reason { reason }): OptionalJson<Reason>,
) -> Result<Json<NotificationDocument>, Problem> {
    let tools = &state.tools;
    let audit = tools.audit(Action::Cancel, &caller, reason)?;
    let cancelled = tools.store.cancel(NotificationId(id), caller.merchant(), &audit).await?;
    answer(tools, cancelled)
}

fn answer(
    tools: &Tools,
    changed: Option<Result<Notification, Refused>>,
) -> Result<Json<NotificationDocument>, Problem> {
    let changed = changed.ok_or_else(no_notification)?;
    let notification = changed.map_err(|refused| Problem::conflict(refused.to_string()))?;
    Ok(Json((&tools.within_bounds(notification)).into()))
}
