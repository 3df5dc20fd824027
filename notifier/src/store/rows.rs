//! Rows as they lie in their tables, and what they stand for; the same columns in both databases.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::EventKey;
use runtime::database::{StoreError, StoreResult};
use runtime::duration::HumanDuration;
use serde::{Deserialize, Serialize};
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use crate::domain::audit::Action;
use crate::domain::subscription::{Definition, Draft};
use crate::domain::{
    AckRule, Attempt, Audit, Delivery, Endpoint, Lease, Message, NewEvent, NotificationId, Outcome, Schedule,
    Subscription, SubscriptionId, SubscriptionState,
};

/// How a database keeps a time.
pub(super) trait StoredTime {
    /// The time; `None` when it is out of range, which we never write.
    fn time(self) -> Option<DateTime<Utc>>;
}

/// `PostgreSQL`'s `timestamptz`.
impl StoredTime for DateTime<Utc> {
    fn time(self) -> Option<DateTime<Utc>> {
        Some(self)
    }
}

/// `SQLite`: microseconds since the epoch.
impl StoredTime for i64 {
    fn time(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self)
    }
}

/// A time that no version of the program writes.
pub(super) struct OutOfRange;

pub(super) fn optional<Time: StoredTime>(time: Option<Time>) -> Result<Option<DateTime<Utc>>, OutOfRange> {
    time.map(|time| time.time().ok_or(OutOfRange)).transpose()
}

pub(super) fn count(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

pub(super) fn readable<T>(value: Option<T>, what: &str, id: impl Display) -> StoreResult<T> {
    value.ok_or_else(|| StoreError::Corrupt(format!("{what} {id}")))
}

/// Adds `condition` and its bound value to a statement's WHERE, if there is a value.
pub(super) fn narrow<'v, DB, T>(query: &mut QueryBuilder<DB>, condition: &'static str, value: Option<T>)
where
    DB: Database,
    T: Encode<'v, DB> + Type<DB>,
{
    if let Some(value) = value {
        query.push(condition).push_bind(value);
    }
}

/// The column `definition`.
#[derive(Debug, Serialize, Deserialize)]
struct StoredDefinition {
    url: String,
    event_types: Vec<String>,
    description: Option<String>,
    ladder: Schedule,
    ack: AckRule,
    timeout: HumanDuration,
    max_in_flight: u32,
    rate_limit: Option<u32>,
    headers: BTreeMap<String, String>,
}

/// What is written to the column `definition`; the name has a column of its own.
pub(super) fn definition_text(definition: &Definition) -> String {
    let draft = definition.draft().clone();
    let stored = StoredDefinition {
        url: draft.url,
        event_types: draft.event_types,
        description: draft.description,
        ladder: draft.schedule,
        ack: draft.ack,
        timeout: draft.timeout,
        max_in_flight: draft.max_in_flight,
        rate_limit: draft.rate_limit,
        headers: draft.headers,
    };
    serde_json::to_string(&stored).expect("only text keys")
}

fn read_definition(name: String, text: &str) -> Option<Definition> {
    let stored: StoredDefinition = serde_json::from_str(text).ok()?;
    let draft = Draft {
        name,
        url: stored.url,
        event_types: stored.event_types,
        description: stored.description,
        schedule: stored.ladder,
        ack: stored.ack,
        timeout: stored.timeout,
        max_in_flight: stored.max_in_flight,
        rate_limit: stored.rate_limit,
        headers: stored.headers,
    };
    draft.check().ok()
}

/// The columns of a [`SubscriptionRow`].
macro_rules! subscription_columns {
    () => {
        "id, merchant, name, definition, state, disabled_reason, created_at, updated_at"
    };
}
pub(super) use subscription_columns;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct SubscriptionRow<Time> {
    id: Uuid,
    merchant: Option<String>,
    name: String,
    definition: String,
    state: String,
    disabled_reason: Option<String>,
    created_at: Time,
    updated_at: Time,
}

impl<Time: StoredTime> SubscriptionRow<Time> {
    pub(super) fn subscription(self) -> StoreResult<Subscription> {
        let id = self.id;
        readable(self.read(), "subscription", id)
    }

    fn read(self) -> Option<Subscription> {
        Some(Subscription {
            id: SubscriptionId(self.id),
            merchant: self.merchant,
            definition: read_definition(self.name, &self.definition)?,
            state: SubscriptionState::parse(&self.state, self.disabled_reason)?,
            created_at: self.created_at.time()?,
            updated_at: self.updated_at.time()?,
        })
    }
}

/// A claimed notification.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct ClaimedRow {
    id: Uuid,
    pub(super) event_key: Uuid,
    pub(super) subscription_id: Uuid,
    attempts: i64,
    climb: i64,
    /// Whether it is a retry.
    again: bool,
}

/// One subscription's rows in the order in which their attempts are to begin: retries and first attempts
/// by turns.
pub(super) fn in_turn(claimed: Vec<ClaimedRow>, retries_first: bool) -> Vec<ClaimedRow> {
    let (retries, firsts): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|row| row.again);
    let turns = |late: bool| (usize::from(late)..).step_by(2);
    let mut placed: Vec<(usize, ClaimedRow)> =
        turns(retries_first).zip(firsts).chain(turns(!retries_first).zip(retries)).collect();
    placed.sort_by_key(|(turn, _)| *turn);
    placed.into_iter().map(|(_, row)| row).collect()
}

impl ClaimedRow {
    /// `messages` are those of the claimed notifications' events, by key.
    pub(super) fn delivery(
        self,
        messages: &HashMap<Uuid, Message>,
        endpoint: Arc<Endpoint>,
        lease: Lease,
    ) -> StoreResult<Delivery> {
        let counts = count(self.attempts).zip(count(self.climb));
        let (attempts, climb) = readable(counts, "notification", self.id)?;
        let message = readable(messages.get(&self.event_key), "event of notification", self.id)?.clone();
        Ok(Delivery {
            notification: NotificationId(self.id),
            number: attempts + 1,
            climb,
            message,
            endpoint,
            lease,
        })
    }
}

/// What webhooks about an event send.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct MessageRow {
    key: Uuid,
    id: String,
    body: String,
    traceparent: Option<String>,
}

impl MessageRow {
    /// The message, by its event's key.
    pub(super) fn message(self) -> (Uuid, Message) {
        (self.key, Message { id: self.id, body: self.body.into(), traceparent: self.traceparent })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct EventRow<Time> {
    key: Uuid,
    id: String,
    source: String,
    #[sqlx(rename = "type")]
    kind: String,
    time: Time,
    subject: Option<String>,
    merchant: Option<String>,
    traceparent: Option<String>,
    body: String,
}

impl<Time: StoredTime> EventRow<Time> {
    pub(super) fn key(&self) -> Uuid {
        self.key
    }

    /// The event, by its key.
    pub(super) fn keyed_event(self) -> StoreResult<(Uuid, NewEvent)> {
        Ok((self.key, self.event()?))
    }

    pub(super) fn event(self) -> StoreResult<NewEvent> {
        let time = readable(self.time.time(), "event", self.key)?;
        Ok(NewEvent {
            key: EventKey(self.key),
            id: self.id,
            source: self.source,
            kind: self.kind,
            time,
            subject: self.subject,
            merchant: self.merchant,
            traceparent: self.traceparent,
            body: self.body.into(),
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct AttemptRow<Time> {
    notification_id: Uuid,
    number: i64,
    started_at: Time,
    duration_ms: i64,
    outcome: String,
    failure_class: Option<String>,
    http_status: Option<i64>,
    error: Option<String>,
    response_excerpt: Option<String>,
}

impl<Time: StoredTime> AttemptRow<Time> {
    pub(super) fn attempt(self) -> StoreResult<Attempt> {
        let id = self.notification_id;
        readable(self.read(), "attempt of notification", id)
    }

    fn read(self) -> Option<Attempt> {
        Some(Attempt {
            number: count(self.number)?,
            started_at: self.started_at.time()?,
            duration: Duration::from_millis(self.duration_ms.try_into().ok()?),
            outcome: Outcome::parse(&self.outcome, self.failure_class.as_deref())?,
            http_status: self.http_status.map(u16::try_from).transpose().ok()?,
            error: self.error,
            response_excerpt: self.response_excerpt,
        })
    }
}

/// An attempt's duration in whole milliseconds.
pub(super) fn duration_ms(attempt: &Attempt) -> i64 {
    i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX)
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct AuditRow<Time> {
    id: Uuid,
    action: String,
    actor: String,
    reason: Option<String>,
    at: Time,
}

impl<Time: StoredTime> AuditRow<Time> {
    pub(super) fn audit(self) -> StoreResult<Audit> {
        let read = Action::parse(&self.action).zip(self.at.time());
        let (action, at) = readable(read, "audit", self.id)?;
        Ok(Audit { id: self.id, action, actor: self.actor, reason: self.reason, at })
    }
}
