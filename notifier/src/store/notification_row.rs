//! A notification as the log reads it, from either of its two tables; the same columns in both
//! databases.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use super::health::HealthMap;
use super::rows::{StoredTime, count, optional, readable};
use crate::domain::notification::StoredState;
use crate::domain::probing::Probing;
use crate::domain::span::Arrivals;
use crate::domain::{
    Day, FailureClass, Notification, NotificationId, SubscriptionId, SubscriptionState, WaitsFor,
};

/// What stands for the state of all that is not final; the shown states are told apart when read.
const WAITING: &str = "waiting";

/// What statements that read the log select of `waiting`; `n`, `e` and `s` are the notification, its
/// event and its subscription.
macro_rules! waiting_columns {
    () => {
        "n.id, n.event_key, n.subscription_id, s.merchant, e.id AS event_id, e.type AS event_type, e.subject, \
         'waiting' AS state, n.due_at, n.leased_until, n.attempts, n.failure_class, n.created_at, n.updated_at, \
         s.state AS subscription_state, s.deleted_at AS subscription_deleted_at"
    };
}
pub(super) use waiting_columns;

/// The same of the finished ones.
macro_rules! finished_columns {
    () => {
        "n.id, n.event_key, n.subscription_id, s.merchant, e.id AS event_id, e.type AS event_type, e.subject, \
         n.state, CAST(NULL AS timestamptz) AS due_at, CAST(NULL AS timestamptz) AS leased_until, n.attempts, n.failure_class, n.created_at, n.updated_at, \
         s.state AS subscription_state, s.deleted_at AS subscription_deleted_at"
    };
}
pub(super) use finished_columns;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct NotificationRow<Time> {
    pub(super) id: Uuid,
    pub(super) event_key: Uuid,
    subscription_id: Uuid,
    merchant: Option<String>,
    event_id: String,
    event_type: String,
    subject: Option<String>,
    state: String,
    due_at: Option<Time>,
    leased_until: Option<Time>,
    attempts: i64,
    failure_class: Option<String>,
    created_at: Time,
    updated_at: Time,
    subscription_state: String,
    subscription_deleted_at: Option<Time>,
}

impl<Time: StoredTime> NotificationRow<Time> {
    /// Whether it lies in `waiting`.
    pub(super) fn waits(&self) -> bool {
        self.state == WAITING
    }

    /// Whether its subscription is deleted.
    pub(super) fn subscription_deleted(&self) -> bool {
        self.subscription_deleted_at.is_some()
    }

    /// The subscription it is for.
    pub(super) fn subscription(&self) -> SubscriptionId {
        SubscriptionId(self.subscription_id)
    }

    /// The notification as it stands at `now`; `health` has that of its subscription's endpoint.
    pub(super) fn notification(self, now: DateTime<Utc>, health: &HealthMap) -> StoreResult<Notification> {
        let id = self.id;
        let probing = health.get(&self.subscription()).and_then(|health| health.probing);
        readable(self.read(now, probing), "notification", id)
    }

    fn read(self, now: DateTime<Utc>, probing: Option<Probing>) -> Option<Notification> {
        let updated_at = self.updated_at.time()?;
        let stored = match self.state.as_str() {
            WAITING => StoredState::Waiting {
                due_at: self.due_at?.time()?,
                leased_until: optional(self.leased_until).ok()?,
                held_by: held_by(&SubscriptionState::parse(&self.subscription_state, None)?),
                probing,
                subscription_deleted_at: optional(self.subscription_deleted_at).ok()?,
            },
            "delivered" => StoredState::Delivered,
            "exhausted" => StoredState::Exhausted,
            "cancelled" => StoredState::Cancelled,
            _ => return None,
        };
        Some(Notification {
            id: NotificationId(self.id),
            subscription: SubscriptionId(self.subscription_id),
            merchant: self.merchant,
            event_id: self.event_id,
            event_type: self.event_type,
            subject: self.subject,
            state: stored.shown(now, updated_at),
            waits_for: stored.waits_for(now),
            attempts: count(self.attempts)?,
            failure_class: match self.failure_class {
                None => None,
                Some(text) => Some(FailureClass::parse(&text)?),
            },
            created_at: self.created_at.time()?,
            updated_at,
        })
    }
}

/// What notifications of a subscription in this state wait for because of it.
fn held_by(state: &SubscriptionState) -> Option<WaitsFor> {
    match state {
        SubscriptionState::Active => None,
        SubscriptionState::Paused => Some(WaitsFor::Paused),
        SubscriptionState::Disabled { .. } => Some(WaitsFor::Disabled),
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct ArrivalsRow<Time> {
    day: i64,
    first_at: Time,
    last_at: Time,
}

impl<Time: StoredTime> ArrivalsRow<Time> {
    pub(super) fn arrivals(self) -> StoreResult<Arrivals> {
        let times = self.first_at.time().zip(self.last_at.time());
        let (first_at, last_at) = readable(times, "arrivals of day", self.day)?;
        Ok(Arrivals { day: Day::from_number(self.day), first_at, last_at })
    }
}
