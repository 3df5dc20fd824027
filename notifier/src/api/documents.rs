//! What the outside sees of the domain.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use runtime::duration::HumanDuration;
use runtime::http::Timestamp;
use runtime::http::described::MerchantName;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::{
    ActionWord, EventId, Failure, Headers, InFlight, Ladder, NotificationWord, Outcome, Pattern, Patterns,
    Rate, Signature, State, Subject, SubscriptionName, SubscriptionNote, Timeout, Url, Waits,
};
use super::described_ack::Ack;
use super::health_document::HealthDocument;
use super::signing_documents::{PublicKeyDocument, SecretDocument};
use crate::domain::attempt::FailureClass;
use crate::domain::event::data_of;
use crate::domain::{
    AckRule, Attempt, Audit, Health, NewEvent, Notification, NotificationState, Schedule, Signing,
    Subscription, WaitsFor,
};
use crate::store::NotificationDetail;

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionDocument {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique per merchant.
    #[schema(value_type = SubscriptionName)]
    pub name: String,
    /// Whose it is; `null`: the operator's, which receives every merchant's events.
    #[schema(value_type = Option<MerchantName>)]
    pub merchant: Option<String>,
    /// Where webhooks go.
    #[schema(value_type = Url)]
    pub url: String,
    /// Which events are asked for.
    #[schema(value_type = Patterns)]
    pub event_types: Vec<String>,
    /// A note for people.
    #[schema(value_type = Option<SubscriptionNote>)]
    pub description: Option<String>,
    /// The waits between attempts, or a preset's name.
    #[schema(value_type = Ladder)]
    pub ladder: Schedule,
    /// What counts as acknowledgement.
    #[schema(value_type = Ack)]
    pub ack: AckRule,
    /// How long one exchange may take.
    #[schema(value_type = Timeout)]
    pub timeout: HumanDuration,
    /// How many attempts may be under way at once.
    #[schema(value_type = InFlight)]
    pub max_in_flight: u32,
    /// How many attempts may start a second; `null`: any number.
    #[schema(value_type = Option<Rate>)]
    pub rate_limit: Option<u32>,
    /// Headers sent with every webhook.
    #[schema(value_type = Headers)]
    pub headers: BTreeMap<String, String>,
    /// How webhooks are signed: `v1` (a shared secret) or `v1a` (a key pair).
    #[schema(value_type = Signature)]
    pub signature: &'static str,
    /// What to verify with, for `v1a`.
    #[schema(example = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")]
    pub public_key: Option<String>,
    /// All public keys that are signed with now, newest first: more than one during a rotation.
    pub public_keys: Vec<PublicKeyDocument>,
    /// The secrets, or private keys, that are signed with now, newest first: more than one during a rotation.
    pub secrets: Vec<SecretDocument>,
    /// `active`, `paused` or `disabled`.
    #[schema(value_type = State)]
    pub state: &'static str,
    /// Why it is disabled.
    pub disabled_reason: Option<String>,
    /// How its endpoint does.
    pub health: HealthDocument,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl SubscriptionDocument {
    /// What is shown of `subscription`, signed as `signing` tells, whose endpoint does as `health`
    /// tells.
    pub fn new(subscription: &Subscription, signing: &Signing, health: Option<&Health>) -> Self {
        let draft = subscription.definition.draft().clone();
        Self {
            id: subscription.id.0,
            name: draft.name,
            merchant: subscription.merchant.clone(),
            url: draft.url,
            event_types: draft.event_types,
            description: draft.description,
            ladder: draft.schedule,
            ack: draft.ack,
            timeout: draft.timeout,
            max_in_flight: draft.max_in_flight,
            rate_limit: draft.rate_limit,
            headers: draft.headers,
            signature: signing.scheme.as_str(),
            public_key: signing.public_key().map(|key| key.to_string()),
            public_keys: signing.public_keys.iter().map(Into::into).collect(),
            secrets: signing.secrets.iter().map(Into::into).collect(),
            state: subscription.state.as_str(),
            disabled_reason: subscription.state.disabled_reason().map(str::to_owned),
            health: HealthDocument::new(health),
            created_at: subscription.created_at,
            updated_at: subscription.updated_at,
        }
    }
}

/// A line of the notification log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
pub struct NotificationDocument {
    /// Its id.
    pub id: Uuid,
    /// To whom.
    pub subscription_id: Uuid,
    /// The subscription's owner.
    pub merchant: Option<String>,
    /// The event's id, which the receiver knows as `webhook-id`.
    #[schema(value_type = EventId)]
    pub event_id: String,
    /// What happened.
    #[schema(value_type = Pattern)]
    pub event_type: String,
    /// What it happened to.
    #[schema(value_type = Option<Subject>)]
    pub subject: Option<String>,
    /// `pending`, `delivering`, `delivered`, `exhausted`, `cancelled` or `held`.
    #[schema(value_type = NotificationWord)]
    pub state: &'static str,
    /// While it is `pending`: no attempt begins before.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What it waits for, while it is `pending` or `held`: `retry` (the next step of its ladder), `probe`
    /// (its receiver is unreachable), `receiver` (which asked for a pause), `rate_limit` or `concurrency`
    /// (the bounds of its subscription, or of this process), `paused` or `disabled` (its subscription is).
    /// `null` where its attempt is about to begin, and in every other state.
    #[schema(value_type = Option<Waits>)]
    pub waits_for: Option<&'static str>,
    /// Attempts made so far.
    pub attempt_count: u32,
    /// Why the last of them failed, in one word; `null` where it did not, or there was none.
    #[schema(value_type = Option<Failure>)]
    pub failure_class: Option<&'static str>,
    /// When it came in.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl From<&Notification> for NotificationDocument {
    fn from(notification: &Notification) -> Self {
        let next_attempt_at = match notification.state {
            NotificationState::Pending { next_attempt_at } => Some(next_attempt_at),
            _ => None,
        };
        Self {
            id: notification.id.0,
            subscription_id: notification.subscription.0,
            merchant: notification.merchant.clone(),
            event_id: notification.event_id.clone(),
            event_type: notification.event_type.clone(),
            subject: notification.subject.clone(),
            state: notification.state.name().as_str(),
            next_attempt_at,
            waits_for: notification.waits_for.map(WaitsFor::as_str),
            attempt_count: notification.attempts,
            failure_class: notification.failure_class.map(FailureClass::as_str),
            created_at: notification.created_at,
            updated_at: notification.updated_at,
        }
    }
}

/// A notification with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationWithAttempts {
    #[serde(flatten)]
    notification: NotificationDocument,
    /// Its event.
    event: EventDocument,
    /// Every attempt, oldest first.
    attempts: Vec<AttemptDocument>,
    /// What people did to it, oldest first.
    audits: Vec<AuditDocument>,
}

impl From<&NotificationDetail> for NotificationWithAttempts {
    fn from(detail: &NotificationDetail) -> Self {
        Self {
            notification: (&detail.notification).into(),
            event: (&detail.event).into(),
            attempts: detail.attempts.iter().map(Into::into).collect(),
            audits: detail.audits.iter().map(Into::into).collect(),
        }
    }
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventDocument {
    /// Its id.
    id: String,
    /// Who published it.
    source: String,
    /// What happened.
    #[serde(rename = "type")]
    kind: String,
    /// When it happened.
    time: DateTime<Utc>,
    /// What it happened to.
    subject: Option<String>,
    /// Whose affair it is.
    merchant: Option<String>,
    /// The W3C trace context it happened in.
    traceparent: Option<String>,
    /// What its publisher says about it, as it was published.
    #[schema(value_type = Value)]
    data: Option<Box<RawValue>>,
}

impl From<&NewEvent> for EventDocument {
    fn from(event: &NewEvent) -> Self {
        Self {
            id: event.id.clone(),
            source: event.source.clone(),
            kind: event.kind.clone(),
            time: event.time,
            subject: event.subject.clone(),
            merchant: event.merchant.clone(),
            traceparent: event.traceparent.clone(),
            data: std::str::from_utf8(&event.body).ok().and_then(data_of),
        }
    }
}

/// One try at delivering.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptDocument {
    /// Counts from 1 and never starts over.
    pub number: u32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// `delivered`, `failed` or `gone`.
    #[schema(value_type = Outcome)]
    pub outcome: &'static str,
    /// Why it failed, in one word: `dns`, `connect`, `tls`, `timeout`, `status`, `ack_mismatch`,
    /// `blocked_target`, `body`, `protocol` or `proxy`.
    #[schema(value_type = Option<Failure>)]
    pub failure_class: Option<&'static str>,
    /// The status that came back.
    pub http_status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The first 1024 bytes of the answer.
    pub response_excerpt: Option<String>,
}

impl From<&Attempt> for AttemptDocument {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            outcome: attempt.outcome.as_str(),
            failure_class: attempt.outcome.failure_class().map(FailureClass::as_str),
            http_status: attempt.http_status,
            error: attempt.error.clone(),
            response_excerpt: attempt.response_excerpt.clone(),
        }
    }
}

/// What a person did to a notification.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Audit)]
pub struct AuditDocument {
    /// `resend`, `cancel`, `replay` or `cancellation`.
    #[schema(value_type = ActionWord)]
    action: &'static str,
    /// `operator` or `merchant:<name>`.
    #[schema(example = "operator")]
    actor: String,
    /// Why, as they said.
    reason: Option<String>,
    /// When.
    at: DateTime<Utc>,
}

impl From<&Audit> for AuditDocument {
    fn from(audit: &Audit) -> Self {
        let Audit { action, actor, reason, at, .. } = audit.clone();
        Self { action: action.as_str(), actor, reason, at }
    }
}

/// The time itself.
pub(super) fn time(timestamp: Option<Timestamp>) -> Option<DateTime<Utc>> {
    timestamp.map(|Timestamp(time)| time)
}
