//! `POST /v1/notifications`: the webhook receiver.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use messaging::webhook::{Claims, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify};
use runtime::http::described::{BodyProblems, Failures};
use runtime::http::{Json, extract};
use runtime::problem::Problem;
use runtime::validation::Invalid;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{App, AppState};
use crate::domain::{Arrival, Contradiction, CreditSource, Refusal, Verdict};
use crate::use_cases::{NotPosted, Told};

/// What the notifier sends. Members that a later version adds are passed over.
#[derive(Deserialize, ToSchema)]
#[schema(as = Notification, example = json!({ "type": "recharge.failed", "data": { "merchant": "shop" } }))]
pub(super) struct NotificationBody {
    /// What happened
    #[serde(rename = "type")]
    #[schema(example = "recharge.succeeded")]
    kind: String,
    /// What its publisher says about it: for `recharge.*`, the recharge
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

/// The notification is taken, and nothing more is to be said.
#[derive(Serialize, ToSchema)]
pub(super) struct Taken {}

/// Receive a notification, signed by Standard Webhooks 1.0
///
/// 200 once the credit is committed, or was already, or when there is nothing to credit: a failed
/// or closed recharge, another event type, another merchant's affair.
#[utoipa::path(post, path = "/v1/notifications", operation_id = "receiveNotification", tag = "results",
    params(
        ("webhook-id" = String, Header, description = "The event's id", example = "019b76da-a800-7000-8000-000000000003"),
        ("webhook-timestamp" = i64, Header, description = "When it was sent, in Unix seconds; at most 5 minutes off", example = 1_767_323_045),
        ("webhook-signature" = String, Header, description = "`v1,` and the base64 of the HMAC-SHA256; one per live secret", example = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    ),
    request_body = NotificationBody,
    responses(
        (status = 200, description = "Taken", body = Taken),
        (status = 401, description = "Not signed by the notifier, or too long ago", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Results come from the queue here (INTAKE=queue)", body = Problem, content_type = "application/problem+json"),
        Failures, BodyProblems,
    ))]
pub(super) async fn receive(State(app): AppState, request: Request) -> Result<Json<Taken>, Problem> {
    let headers = request.headers().clone();
    let body = extract::body(request, &()).await?;
    authenticate(&app, &headers, &body)?;
    if !extract::is_json(&headers) {
        return Err(Problem::unsupported_media_type());
    }
    let notification: NotificationBody = extract::parse(&body)?;
    let event_id = header(&headers, ID_HEADER).map(str::to_owned);
    let told = app.read_results.read(&notification.kind, None, notification.data.get());
    match told {
        Ok(Told::NotOurs) => {
            app.metrics.passed_over(CreditSource::Webhook);
            Ok(Json(Taken {}))
        }
        Ok(Told::Result(recharge)) => {
            let arrival = Arrival::new(recharge, CreditSource::Webhook, notification.data).by_event(event_id);
            match app.posting.post(arrival).await.map_err(|error| not_posted(&error))? {
                Verdict::Refused(refusal) => Err(refusal.into()),
                Verdict::Credited(_) | Verdict::Already(_) | Verdict::Noted => Ok(Json(Taken {})),
            }
        }
        Err(error) => {
            app.metrics.unreadable(CreditSource::Webhook);
            Err(Problem::invalid(Invalid::field("data", error.to_string())))
        }
    }
}

fn authenticate(app: &Arc<App>, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let Some(secrets) = &app.webhook_secrets else {
        return Err(Problem::not_found("results come from the queue here, not by webhook (INTAKE=queue)"));
    };
    let claims = Claims {
        id: header(headers, ID_HEADER),
        timestamp: header(headers, TIMESTAMP_HEADER),
        signature: header(headers, SIGNATURE_HEADER),
    };
    verify(secrets, claims, body, app.clock.wall()).map_err(|why| Problem::unauthorized(why.to_string()))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// 503: nothing of it is stored, or all of it; sending it again tells. Logged where it happened.
pub(super) fn not_posted(error: &NotPosted) -> Problem {
    let part = match error {
        NotPosted::Store(_) => "database",
        NotPosted::Stopped(_) => "the service",
    };
    Problem::unavailable(part, Duration::from_secs(1))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let part = match &refusal {
            Refusal::UnknownAccount => "account_no",
            Refusal::CurrencyMismatch(_) => "currency",
            Refusal::ContradictsRequest(Contradiction(part)) => part,
            Refusal::ContradictsCredit => "tx_no",
            Refusal::OrderCreditedAlready(_) => "merchant_order_no",
            Refusal::Overflow => "amount",
        };
        Self::invalid(Invalid::field(format!("data.{part}"), refusal.to_string()))
    }
}
