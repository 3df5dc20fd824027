//! One event on its way to one subscription.

use std::fmt;

use chrono::{DateTime, Utc};
use messaging::EventKey;
use uuid::Uuid;

use super::SubscriptionId;

/// A notification's id, made of its event and its subscription: the same pair can't have two
/// (law 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub Uuid);

impl NotificationId {
    /// The one notification of `event` for `subscription`.
    pub fn of(event: EventKey, subscription: SubscriptionId) -> Self {
        Self(event.derived(&[subscription.0.as_bytes()]))
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a notification stands, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationState {
    /// Waits for its next attempt.
    Pending {
        /// Not before this time.
        next_attempt_at: DateTime<Utc>,
    },
    /// An attempt is under way, or its process died and the lease is not over yet.
    Delivering {
        /// The end of the lease.
        until: DateTime<Utc>,
    },
    /// Waits for its subscription, which is paused or disabled.
    Held,
    /// Acknowledged.
    Delivered {
        /// When.
        at: DateTime<Utc>,
    },
    /// The last step of the ladder failed.
    Exhausted {
        /// When.
        at: DateTime<Utc>,
    },
    /// Given up by a person, or with its subscription.
    Cancelled {
        /// When.
        at: DateTime<Utc>,
    },
}

/// A state without its data: what lists are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateName {
    /// See [`NotificationState::Pending`].
    Pending,
    /// See [`NotificationState::Delivering`].
    Delivering,
    /// See [`NotificationState::Held`].
    Held,
    /// See [`NotificationState::Delivered`].
    Delivered,
    /// See [`NotificationState::Exhausted`].
    Exhausted,
    /// See [`NotificationState::Cancelled`].
    Cancelled,
}

impl StateName {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Delivering, Self::Held, Self::Delivered, Self::Exhausted, Self::Cancelled];

    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivering => "delivering",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`StateName::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Exhausted | Self::Cancelled)
    }
}

/// What is stored of a state. `pending` covers three shown states, told apart when read, so that
/// pausing a subscription touches no notification.
#[derive(Debug, Clone)]
pub struct StoredState {
    /// `pending`, `delivered`, `exhausted` or `cancelled`.
    pub state: String,
    /// When it is to be taken next: the next attempt's time or, under a lease, the lease's end.
    pub due_at: DateTime<Utc>,
    /// Whether a lease was granted and not given back.
    pub leased: bool,
    /// The last change.
    pub updated_at: DateTime<Utc>,
    /// Whether the subscription is active.
    pub subscription_active: bool,
}

impl StoredState {
    /// The state as it is shown at `now`; `None` when no version of the program stores such a one.
    pub fn shown(&self, now: DateTime<Utc>) -> Option<NotificationState> {
        let at = self.updated_at;
        match self.state.as_str() {
            "pending" if self.leased && self.due_at > now => {
                Some(NotificationState::Delivering { until: self.due_at })
            }
            "pending" if !self.subscription_active => Some(NotificationState::Held),
            "pending" => Some(NotificationState::Pending { next_attempt_at: self.due_at }),
            "delivered" => Some(NotificationState::Delivered { at }),
            "exhausted" => Some(NotificationState::Exhausted { at }),
            "cancelled" => Some(NotificationState::Cancelled { at }),
            _ => None,
        }
    }
}

/// Why something can't be done to a notification as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Resending would send the same thing twice at once.
    #[error("an attempt is under way; resend when it has ended")]
    UnderWay,
    /// There is nothing left to cancel.
    #[error("it is {} already", .0.as_str())]
    Final(StateName),
    /// Nobody is there to send it to.
    #[error("its subscription is deleted")]
    SubscriptionDeleted,
}

impl NotificationState {
    /// The state's name.
    pub fn name(self) -> StateName {
        match self {
            Self::Pending { .. } => StateName::Pending,
            Self::Delivering { .. } => StateName::Delivering,
            Self::Held => StateName::Held,
            Self::Delivered { .. } => StateName::Delivered,
            Self::Exhausted { .. } => StateName::Exhausted,
            Self::Cancelled { .. } => StateName::Cancelled,
        }
    }

    /// Whether a resend may start the climb over: in any state but under a live lease.
    pub fn resend(self) -> Result<(), Refused> {
        if self.name() == StateName::Delivering { Err(Refused::UnderWay) } else { Ok(()) }
    }

    /// Whether it may be given up: until it is final. The result of an attempt under way no longer
    /// counts then.
    pub fn cancel(self) -> Result<(), Refused> {
        if self.name().is_final() { Err(Refused::Final(self.name())) } else { Ok(()) }
    }
}

/// A line of the notification log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// To whom.
    pub subscription: SubscriptionId,
    /// The subscription's owner, who may see it; `None`: the operator alone.
    pub merchant: Option<String>,
    /// The event's own id.
    pub event_id: String,
    /// What happened.
    pub event_type: String,
    /// What it happened to.
    pub subject: Option<String>,
    /// Where it stands.
    pub state: NotificationState,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it came in.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(state: &str, leased: bool, active: bool) -> StoredState {
        StoredState {
            state: state.into(),
            due_at: "2026-01-01T00:01:00Z".parse().expect("a time"),
            leased,
            updated_at: "2026-01-01T00:00:00Z".parse().expect("a time"),
            subscription_active: active,
        }
    }

    fn name_at(stored: &StoredState, now: &str) -> StateName {
        stored.shown(now.parse().expect("a time")).expect("a state").name()
    }

    #[test]
    fn pending_shows_as_delivering_under_a_live_lease_and_as_held_while_the_subscription_is_not_active() {
        let before = "2026-01-01T00:00:30Z";
        let after = "2026-01-01T00:01:00Z";
        assert_eq!(name_at(&stored("pending", false, true), before), StateName::Pending);
        assert_eq!(name_at(&stored("pending", true, true), before), StateName::Delivering);
        assert_eq!(name_at(&stored("pending", true, true), after), StateName::Pending);
        assert_eq!(name_at(&stored("pending", true, false), before), StateName::Delivering);
        assert_eq!(name_at(&stored("pending", false, false), before), StateName::Held);
        assert_eq!(name_at(&stored("delivered", false, false), before), StateName::Delivered);
    }

    #[test]
    fn a_resend_is_refused_only_under_a_lease_and_a_cancel_only_at_the_end() {
        let now = "2026-01-01T00:00:30Z".parse().expect("a time");
        let state = |state, leased| stored(state, leased, true).shown(now).expect("a state");
        assert_eq!(state("pending", true).resend(), Err(Refused::UnderWay));
        assert_eq!(state("delivered", false).resend(), Ok(()));
        assert_eq!(state("pending", true).cancel(), Ok(()));
        assert_eq!(state("exhausted", false).cancel(), Err(Refused::Final(StateName::Exhausted)));
    }
}
