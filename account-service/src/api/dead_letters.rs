//! The dead letters of the queue of results, for the operator: they are any merchant's.

use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, Utc};
use messaging::event::without_mark;
use runtime::http::described::{BodyProblems, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, OperatorOnly, OptionalJson, Path, Query};
use runtime::keys::Caller;
use runtime::problem::{Chain, Problem};
use runtime::recurring::Recurring;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::AppState;
use super::page::PageQuery;
use super::reason::ReasonBody;
use crate::domain::Requeue;
use crate::use_cases::{NoLetters, ReadLetter, RequeueWish};

/// How much is shown of a body that is no event, in bytes.
const EXCERPT: usize = 16 * 1024;

static UNAVAILABLE: Recurring = Recurring::new();

/// A message that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterSummary)]
pub(super) struct Summary {
    /// Its id
    id: Uuid,
    /// The id of its event; `null`, as the next three, where it holds none
    event_id: Option<String>,
    /// The type of its event
    #[schema(example = "recharge.succeeded")]
    event_type: Option<String>,
    /// What its event is about: the `tx_no`
    subject: Option<String>,
    /// Whose affair it is
    #[schema(example = "account-service")]
    merchant: Option<String>,
    /// Why it was given up; `null` when another program has put it there without saying
    #[schema(example = "there is no such account")]
    reason: Option<String>,
    /// How many attempts at it failed
    #[schema(example = 9)]
    attempts: u32,
    /// When it was first published, where that is known
    first_published_at: Option<DateTime<Utc>>,
    /// When it was given up
    dead_lettered_at: Option<DateTime<Utc>>,
    /// How large it is, in bytes
    #[schema(example = 612)]
    size: usize,
}

/// The same with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(super) struct Detail {
    #[serde(flatten)]
    summary: Summary,
    /// Its event, as published; `null` where it holds none
    #[schema(value_type = Value)]
    event: Option<Box<RawValue>>,
    /// Where it holds no event: what it holds, as text, the first 16 KiB
    body: Option<String>,
    /// Earlier requeues of the same event, the last 20, newest first
    requeues: Vec<RequeueView>,
}

/// Who had a dead letter put back, when and why.
#[derive(Serialize, ToSchema)]
#[schema(as = Requeue)]
pub(super) struct RequeueView {
    /// Its id
    id: Uuid,
    /// Which dead letter
    dead_letter_id: Uuid,
    /// The id of its event, where it held one
    event_id: Option<String>,
    /// The type of its event
    event_type: Option<String>,
    /// What its event is about
    subject: Option<String>,
    /// Why it had been given up
    given_up_for: Option<String>,
    /// After how many attempts
    attempts: u32,
    /// Who asked for it
    #[schema(example = "operator")]
    asked_by: String,
    /// Why
    #[schema(example = "the account is open now")]
    reason: Option<String>,
    /// When
    asked_at: DateTime<Utc>,
    /// When it was back in the queue; `null` when the broker did not say so
    requeued_at: Option<DateTime<Utc>>,
}

/// List dead letters, newest first
///
/// They stay where they are. Empty where results do not come from the queue.
#[utoipa::path(get, path = "/v1/dead-letters", operation_id = "listDeadLetters", tag = "dead letters", security(("key" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "One page of dead letters", body = List<Summary>),
        (status = 403, description = "Only the operator may look", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, QueryProblems,
    ))]
pub(super) async fn list(
    _: OperatorOnly,
    State(app): AppState,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<Summary>>, Problem> {
    let page = query.page()?;
    let letters = app.dead_letters.list(page).await?;
    Ok(Json(List::new(letters, page, |read| read.letter.id).map(|read| Summary::of(&read))))
}

/// Show a dead letter with its event
#[utoipa::path(get, path = "/v1/dead-letters/{id}", operation_id = "getDeadLetter", tag = "dead letters", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The dead letter's id")),
    responses(
        (status = 200, description = "The dead letter", body = Detail),
        (status = 403, description = "Only the operator may look", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such dead letter, or no longer", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    ))]
pub(super) async fn show(
    _: OperatorOnly,
    State(app): AppState,
    Path(id): Path<Uuid>,
) -> Result<Json<Detail>, Problem> {
    let (read, requeues) = app.dead_letters.show(id).await?.ok_or_else(no_such_letter)?;
    Ok(Json(Detail::of(read, requeues)))
}

/// Put a dead letter back into the queue
///
/// It is processed as a fresh message, its ladder from the beginning. Who asked for it, when and why
/// is kept.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/requeue", operation_id = "requeueDeadLetter", tag = "dead letters", security(("key" = [])),
    params(("id" = Uuid, Path, description = "The dead letter's id")),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is in the queue", body = RequeueView),
        (status = 403, description = "Only the operator may", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such dead letter, or no longer", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, BodyProblems,
    ))]
pub(super) async fn requeue(
    _: OperatorOnly,
    caller: Caller,
    State(app): AppState,
    Path(id): Path<Uuid>,
    OptionalJson(body): OptionalJson<ReasonBody>,
) -> Result<Json<RequeueView>, Problem> {
    let wish = RequeueWish { by: caller.to_string(), reason: body.checked()? };
    let requeue = app.dead_letters.requeue(id, wish).await?.ok_or_else(no_such_letter)?;
    tracing::info!(dead_letter.id = %id, requeue.id = %requeue.id, "dead_letter.requeued");
    Ok(Json(requeue.into()))
}

/// List requeues, newest first
#[utoipa::path(get, path = "/v1/requeues", operation_id = "listRequeues", tag = "dead letters", security(("key" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "One page of requeues", body = List<RequeueView>),
        (status = 403, description = "Only the operator may look", body = Problem, content_type = "application/problem+json"),
        KeyedProblems, QueryProblems,
    ))]
pub(super) async fn requeues(
    _: OperatorOnly,
    State(app): AppState,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<RequeueView>>, Problem> {
    let page = query.page()?;
    let requeues = app.store.requeues(page).await?;
    Ok(Json(List::new(requeues, page, |requeue| requeue.id).map(RequeueView::from)))
}

impl Summary {
    fn of(ReadLetter { letter, event }: &ReadLetter) -> Self {
        let event = event.as_ref();
        Self {
            id: letter.id,
            event_id: event.map(|event| event.id.clone()),
            event_type: event.map(|event| event.kind.clone()),
            subject: event.and_then(|event| event.subject.clone()),
            merchant: event.and_then(|event| event.merchant.clone()),
            reason: letter.history.reason.clone(),
            attempts: letter.history.attempts,
            first_published_at: letter.history.first_published_at,
            dead_lettered_at: letter.dead_lettered_at,
            size: letter.size,
        }
    }
}

impl Detail {
    fn of(read: ReadLetter, requeues: Vec<Requeue>) -> Self {
        let summary = Summary::of(&read);
        let ReadLetter { letter, event } = read;
        let excerpt = &letter.body[..letter.body.len().min(EXCERPT)];
        let body = event.is_none().then(|| String::from_utf8_lossy(excerpt).into_owned());
        let published = event.and_then(|_| String::from_utf8(without_mark(&letter.body).to_vec()).ok());
        let event = published.and_then(|text| RawValue::from_string(text).ok());
        Self { summary, event, body, requeues: requeues.into_iter().map(RequeueView::from).collect() }
    }
}

impl From<Requeue> for RequeueView {
    fn from(requeue: Requeue) -> Self {
        Self {
            id: requeue.id,
            dead_letter_id: requeue.dead_letter_id,
            event_id: requeue.event_id,
            event_type: requeue.event_type,
            subject: requeue.subject,
            given_up_for: requeue.given_up_for,
            attempts: requeue.attempts,
            asked_by: requeue.asked_by,
            reason: requeue.reason,
            asked_at: requeue.asked_at,
            requeued_at: requeue.requeued_at,
        }
    }
}

impl From<NoLetters> for Problem {
    fn from(error: NoLetters) -> Self {
        match error {
            NoLetters::Store(error) => error.into(),
            NoLetters::Broker(error) => {
                if let Some(times) = UNAVAILABLE.note(&Chain(&error)) {
                    tracing::warn!(error = %Chain(&error), times, "dead_letters.unavailable");
                }
                Self::unavailable("broker", Duration::from_secs(1))
            }
        }
    }
}

fn no_such_letter() -> Problem {
    Problem::not_found("there is no such dead letter, or it was put back already")
}
