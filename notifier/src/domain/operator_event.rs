//! What the notifier itself has to tell its operators, as events like any other.

use chrono::{DateTime, Utc};
use messaging::{Event, EventKey};
use serde_json::{Value, json};

use super::{FailureClass, NotificationId, Subscription, SubscriptionId, SubscriptionState};

/// What their types begin with. `*` does not ask for them: a receiver of business events must not be
/// surprised by what concerns operators.
pub const FAMILY: &str = "ringback.";
/// Who publishes them.
pub const SOURCE: &str = "/notifier";

/// Whether `kind` is a type of such events.
pub fn is_for_operators(kind: &str) -> bool {
    kind.starts_with(FAMILY)
}

/// The subscription that an event is about. Its merchant hears of it, and the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concerned {
    /// Its id.
    pub id: SubscriptionId,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub merchant: Option<String>,
}

impl From<&Subscription> for Concerned {
    fn from(subscription: &Subscription) -> Self {
        let name = subscription.definition.draft().name.clone();
        Self { id: subscription.id, name, merchant: subscription.merchant.clone() }
    }
}

/// Something operators are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorEvent {
    /// A subscription's notifications are held from now on.
    SubscriptionDisabled {
        /// Which.
        subscription: Concerned,
        /// Why, for people: a 410, too long without success, or who did it.
        reason: String,
    },
    /// A notification's ladder has ended.
    NotificationExhausted {
        /// Whose notification.
        subscription: Concerned,
        /// Which.
        notification: NotificationId,
        /// About which event.
        event_id: String,
        /// What had happened.
        event_type: String,
        /// To what.
        subject: Option<String>,
        /// Attempts made.
        attempts: u32,
        /// Why the last one failed.
        failure_class: Option<FailureClass>,
    },
    /// More and more waits, and it is more or older than it should be.
    BacklogGrowing {
        /// For whom it waits; `None`: for all together.
        subscription: Option<Concerned>,
        /// How much.
        waiting: u64,
        /// Since when the oldest does.
        oldest_at: Option<DateTime<Utc>>,
    },
}

impl OperatorEvent {
    /// What operators are told when a subscription was in the state `before` and is now as it is.
    pub fn of_change(before: &SubscriptionState, now: &Subscription) -> Option<Self> {
        let reason = now.state.disabled_reason()?.to_owned();
        let was_disabled = before.disabled_reason().is_some();
        (!was_disabled).then(|| Self::SubscriptionDisabled { subscription: now.into(), reason })
    }

    /// Its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SubscriptionDisabled { .. } => "ringback.subscription.disabled",
            Self::NotificationExhausted { .. } => "ringback.notification.exhausted",
            Self::BacklogGrowing { .. } => "ringback.backlog.growing",
        }
    }

    /// The event, which happened at `at`. The same thing at the same time has the same id.
    pub fn event(&self, at: DateTime<Utc>) -> Event {
        let (subject, concerned) = (self.subject(), self.concerned());
        let id = EventKey::made_at(at, &[self.kind().as_bytes(), subject.as_bytes()]);
        let data = self.data(concerned, at);
        let mut event = Event::new(id.0, SOURCE, self.kind(), at, &data).expect("text keys only");
        event.subject = Some(subject);
        event.merchant = concerned.and_then(|subscription| subscription.merchant.clone());
        event
    }

    fn concerned(&self) -> Option<&Concerned> {
        match self {
            Self::SubscriptionDisabled { subscription, .. }
            | Self::NotificationExhausted { subscription, .. } => Some(subscription),
            Self::BacklogGrowing { subscription, .. } => subscription.as_ref(),
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::NotificationExhausted { notification, .. } => notification.to_string(),
            _ => {
                self.concerned().map_or_else(|| "all".to_owned(), |subscription| subscription.id.to_string())
            }
        }
    }

    fn data(&self, concerned: Option<&Concerned>, at: DateTime<Utc>) -> Value {
        let mut data = match self {
            Self::SubscriptionDisabled { reason, .. } => json!({ "reason": reason, "disabled_at": at }),
            Self::NotificationExhausted {
                notification,
                event_id,
                event_type,
                subject,
                attempts,
                failure_class,
                ..
            } => json!({
                "notification_id": notification.0, "event_id": event_id, "event_type": event_type,
                "subject": subject, "attempts": attempts,
                "failure_class": failure_class.map(FailureClass::as_str), "exhausted_at": at,
            }),
            Self::BacklogGrowing { waiting, oldest_at, .. } => {
                json!({ "waiting": waiting, "oldest_at": oldest_at, "measured_at": at })
            }
        };
        data["subscription_id"] = json!(concerned.map(|subscription| subscription.id.0));
        data["subscription_name"] = json!(concerned.map(|subscription| &subscription.name));
        data
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn concerned() -> Concerned {
        let id = SubscriptionId(Uuid::from_u128(7));
        Concerned { id, name: "orders".into(), merchant: Some("shop".into()) }
    }

    #[test]
    fn an_event_tells_its_subscriptions_merchant_what_it_is_about() {
        let at: DateTime<Utc> = "2026-01-01T00:00:00.5Z".parse().expect("a time");
        let told = OperatorEvent::SubscriptionDisabled { subscription: concerned(), reason: "410".into() };
        let event = told.event(at);
        let json: Value = serde_json::from_slice(&event.to_json()).expect("JSON");
        let id = json!("00000000-0000-0000-0000-000000000007");
        assert_eq!((&json["type"], &json["source"]), (&json!(told.kind()), &json!("/notifier")));
        assert_eq!((&json["merchant"], &json["subject"], &json["time"]), (&json!("shop"), &id, &json!(at)));
        let data = json!({ "subscription_id": id, "subscription_name": "orders", "reason": "410",
            "disabled_at": at });
        assert_eq!(json["data"], data);
        assert_eq!(event.key().0.to_string(), event.id, "the id is a UUIDv7 of that time");
        assert_eq!(told.event(at).id, event.id);
        assert_ne!(told.event(at + chrono::TimeDelta::milliseconds(1)).id, event.id);
    }

    #[test]
    fn what_waits_for_all_together_concerns_no_merchant() {
        let told = OperatorEvent::BacklogGrowing { subscription: None, waiting: 9, oldest_at: None };
        let event = told.event(DateTime::UNIX_EPOCH);
        assert_eq!((event.merchant, event.subject.as_deref()), (None, Some("all")));
    }
}
