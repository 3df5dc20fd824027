//! The webhook in the interface description: what subscribers' receivers are sent.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{HttpMethod, OpenApi, PathsBuilder};

use super::described::{EventId, Pattern};

/// What a webhook says. Byte for byte the same on every attempt.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Webhook, example = json!({
    "type": "recharge.succeeded", "timestamp": "2026-01-02T03:04:05.678Z", "data": { "amount": 1000 }
}))]
struct WebhookDocument {
    /// What happened
    #[serde(rename = "type")]
    #[schema(value_type = Pattern)]
    kind: String,
    /// When it happened
    timestamp: DateTime<Utc>,
    /// The `data` of the event, as it was published; for `recharge.*`, the recharge
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

/// Receive a webhook
///
/// Sent by the notifier to the URL of a subscription, after the Standard Webhooks specification. Verify the
/// signature first; the same `webhook-id` may come several times.
#[utoipa::path(
    post,
    path = "/",
    operation_id = "receiveWebhook",
    tag = "webhooks",
    params(
        ("webhook-id" = EventId, Header, description = "The event's id, the same on every attempt: the key to recognise a repetition by"),
        ("webhook-timestamp" = i64, Header, description = "When the attempt was made, in Unix seconds; refuse what is more than 5 minutes off"),
        ("webhook-signature" = String, Header, description = "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, or `v1a,` and an Ed25519 signature; one for each live key, separated by spaces"),
        ("ringback-subscription-id" = Uuid, Header, description = "The subscription; not signed"),
        ("traceparent" = String, Header, description = "The W3C trace context"),
        ("user-agent" = String, Header, description = "`Ringback/` and its version"),
    ),
    request_body = WebhookDocument,
    responses(
        (status = "2XX", description = "Acknowledged, where the body is what the subscription's `ack` asks for"),
        (status = 410, description = "Gone for good: the subscription is disabled"),
        (status = 429, description = "Too much: nothing is sent before `Retry-After`, up to 24 hours", headers(("Retry-After" = String, description = "Seconds, or an HTTP date"))),
        (status = 503, description = "Not now: nothing is sent before `Retry-After`, up to 24 hours", headers(("Retry-After" = String, description = "Seconds, or an HTTP date"))),
        (status = "default", description = "Not acknowledged: sent again by the subscription's ladder. Redirects are not followed"),
    )
)]
#[expect(dead_code, reason = "describes what others implement")]
fn webhook() {}

/// Adds the webhook to `description`.
pub(super) fn describe(description: &mut OpenApi) {
    let item = PathItem::new(HttpMethod::Post, <__path_webhook as utoipa::Path>::operation());
    description.webhooks = Some(PathsBuilder::new().path("notification", item).build());
    let components = description.components.get_or_insert_default();
    let name = <WebhookDocument as utoipa::ToSchema>::name();
    components.schemas.insert(name.into(), <WebhookDocument as utoipa::PartialSchema>::schema());
}
