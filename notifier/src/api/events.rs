//! Publishing events by HTTP.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use runtime::Problem;
use runtime::http::Json;
use runtime::http::described::KeyedProblems;
use runtime::http::extract::body_up_to;
use runtime::keys::Caller;
use runtime::validation::{FieldError, Invalid};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::State;
use super::described::{EventId, PublishResult};
use super::event_forms::{CloudEvent, Incoming};
use crate::domain::{EventRefusal, NewEvent};
use crate::engine::Published;

/// The largest batch that is read, in bytes.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// How many events a batch has at most.
const MAX_EVENTS: usize = 500;
/// What is taken.
const TAKEN: &str = "application/cloudevents+json, or application/cloudevents-batch+json";

/// What became of the events of a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublishedEvents)]
pub struct PublishedDocument {
    /// Each event, in the order of the request.
    events: Vec<PublishedEvent>,
    /// How many of them were not known before.
    #[schema(example = 1)]
    new: usize,
    /// How many of them were known, with the same content: nothing was changed.
    #[schema(example = 0)]
    known: usize,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublishedEvent {
    /// Its id.
    #[schema(value_type = EventId)]
    id: String,
    /// Its source, as it is kept: a merchant's begins with `/merchants/NAME/`.
    #[schema(example = "/merchants/shop/orders")]
    source: String,
    /// `new`, or `known`: an event of the same source and id was kept before.
    #[schema(value_type = PublishResult)]
    result: &'static str,
}

/// Publish events
///
/// One event in the structured mode of `CloudEvents` 1.0, or a batch of 1 to 500. All are kept when this is answered, and
/// are delivered to the subscriptions that match; when one is refused, none is kept. The same `source` and `id`
/// again changes nothing. The types `recharge.*` and `ringback.*` belong to the services.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "publishEvents",
    tag = "events",
    security(("key" = [])),
    request_body(content(
        (CloudEvent = "application/cloudevents+json"),
        (Vec<CloudEvent> = "application/cloudevents-batch+json"),
    )),
    responses(
        (status = 202, description = "All are kept", body = PublishedDocument),
        (status = 400, description = "The body is not well-formed JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An event of the same source and id is kept with another content; `errors` names each", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time; nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "An event over 64 KiB, or a batch over 1 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is neither an event nor a batch of events", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "An event is invalid; `errors` names each with its place in the batch", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    )
)]
pub async fn publish(state: State, caller: Caller, request: Request) -> Result<Response, Problem> {
    let form = Form::of(request.headers()).ok_or_else(|| Problem::unsupported_media_type_but(TAKEN))?;
    let body = body_up_to(form.limit(), request, &()).await?;
    if body.len() > form.limit() {
        return Err(Problem::too_large(form.limit()));
    }
    let incoming = Incoming { caller: &caller, now: state.tools.sources.clock.now() };
    let events = incoming.read(&form.elements(&body)?, |place| form.place(place))?;
    let answer = state.publish.submit(events.clone()).await;
    let answer = answer.map_err(|_| Problem::unavailable("the service", Duration::from_secs(1)))?;
    match answer.map_err(|error| Problem::from(&*error))? {
        Published::Kept(fresh) => Ok((StatusCode::ACCEPTED, Json(kept(events, &fresh))).into_response()),
        Published::Refused(refused) => Err(refusal(form, &refused)),
    }
}

fn kept(events: Vec<NewEvent>, fresh: &[bool]) -> PublishedDocument {
    let new = fresh.iter().filter(|is_new| **is_new).count();
    let events: Vec<_> = events
        .into_iter()
        .zip(fresh)
        .map(|(NewEvent { id, source, .. }, is_new)| PublishedEvent {
            id,
            source,
            result: if *is_new { "new" } else { "known" },
        })
        .collect();
    PublishedDocument { known: events.len() - new, events, new }
}

/// Why none is kept.
fn refusal(form: Form, refused: &[(usize, EventRefusal)]) -> Problem {
    let contradicts = refused.iter().any(|(_, refusal)| *refusal != EventRefusal::Expired);
    let errors = refused.iter().map(|(place, refusal)| {
        let field = if *refusal == EventRefusal::Expired { "time" } else { "id" };
        FieldError { field: format!("{}{field}", form.place(*place)), message: refusal.to_string() }
    });
    let invalid = Invalid(errors.collect());
    if contradicts {
        return Problem::conflict(format!("no event was kept: {invalid}")).with_errors(invalid.0);
    }
    Problem::invalid(invalid)
}

/// How a request holds its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The body is an event.
    One,
    /// The body is a list of events.
    Batch,
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            messaging::event::CONTENT_TYPE => Some(Self::One),
            "application/cloudevents-batch+json" => Some(Self::Batch),
            _ => None,
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::One => runtime::http::BODY_LIMIT,
            Self::Batch => MAX_BATCH_BYTES,
        }
    }

    /// What the name of a field of an event begins with.
    fn place(self, place: usize) -> String {
        match self {
            Self::One => String::new(),
            Self::Batch => format!("[{place}]."),
        }
    }

    /// The JSON of each event.
    fn elements(self, body: &[u8]) -> Result<Vec<Box<RawValue>>, Problem> {
        let text = std::str::from_utf8(messaging::event::without_mark(body))
            .map_err(|error| Problem::malformed_json(error.to_string()))?;
        let whole: Box<RawValue> =
            serde_json::from_str(text).map_err(|error| Problem::malformed_json(error.to_string()))?;
        if self == Self::One {
            return Ok(vec![whole]);
        }
        let wrong = || Invalid::field("body", format!("must be a list of 1 to {MAX_EVENTS} events"));
        let events: Vec<Box<RawValue>> = serde_json::from_str(whole.get()).map_err(|_| wrong())?;
        if (1..=MAX_EVENTS).contains(&events.len()) { Ok(events) } else { Err(wrong().into()) }
    }
}
