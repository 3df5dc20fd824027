//! One event on its way to one subscription.

use std::fmt;

use chrono::{DateTime, Utc};
use messaging::EventKey;
use uuid::Uuid;

use super::probing::Probing;
use super::{FailureClass, SubscriptionId, WaitsFor};

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

/// What is stored of a state. What waits is told apart when it is read, so that pausing or deleting
/// a subscription touches no notification, and a process that dies leaves nothing to repair.
#[derive(Debug, Clone, Copy)]
pub enum StoredState {
    /// It is not final, unless its subscription is deleted.
    Waiting {
        /// When the next attempt is due.
        due_at: DateTime<Utc>,
        /// The end of the last lease, unless that was given back.
        leased_until: Option<DateTime<Utc>>,
        /// What it waits for because of its subscription: [`WaitsFor::Paused`] or
        /// [`WaitsFor::Disabled`]. `None` where that is active.
        held_by: Option<WaitsFor>,
        /// How its endpoint is probed, where it is.
        probing: Option<Probing>,
        /// When the subscription was deleted.
        subscription_deleted_at: Option<DateTime<Utc>>,
    },
    /// Acknowledged.
    Delivered,
    /// The last step of the ladder failed.
    Exhausted,
    /// Given up.
    Cancelled,
}

impl StoredState {
    /// The state as it is shown at `now`, when it was last written at `at`.
    pub fn shown(self, now: DateTime<Utc>, at: DateTime<Utc>) -> NotificationState {
        match self {
            Self::Waiting { subscription_deleted_at: Some(at), .. } => NotificationState::Cancelled { at },
            Self::Waiting { leased_until: Some(until), .. } if until > now => {
                NotificationState::Delivering { until }
            }
            Self::Waiting { held_by: Some(_), .. } => NotificationState::Held,
            Self::Waiting { due_at, probing, .. } => {
                let next_at = probing.map_or(due_at, |probing| due_at.max(probing.next_at()));
                NotificationState::Pending { next_attempt_at: next_at }
            }
            Self::Delivered => NotificationState::Delivered { at },
            Self::Exhausted => NotificationState::Exhausted { at },
            Self::Cancelled => NotificationState::Cancelled { at },
        }
    }

    /// What it waits for at `now`; `None` where it is final or under way, and where only the bounds
    /// of a process can hold it back.
    pub fn waits_for(self, now: DateTime<Utc>) -> Option<WaitsFor> {
        match self {
            Self::Waiting { subscription_deleted_at: Some(_), .. } => None,
            Self::Waiting { leased_until: Some(until), .. } if until > now => None,
            Self::Waiting { held_by: Some(held_by), .. } => Some(held_by),
            Self::Waiting { due_at, probing: Some(probing), .. } if due_at <= now.max(probing.next_at()) => {
                Some(probing.waits_for())
            }
            Self::Waiting { due_at, .. } if due_at > now => Some(WaitsFor::Retry),
            Self::Waiting { .. } | Self::Delivered | Self::Exhausted | Self::Cancelled => None,
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
    /// What it waits for; see [`StoredState::waits_for`].
    pub waits_for: Option<WaitsFor>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Why the last of them failed, if it did.
    pub failure_class: Option<FailureClass>,
    /// When it came in.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::super::probing::Cause;
    use super::super::testing::at;
    use super::*;

    fn waiting(leased: bool, active: bool, deleted: bool) -> StoredState {
        StoredState::Waiting {
            due_at: at("2026-01-01T00:00:00Z"),
            leased_until: leased.then(|| at("2026-01-01T00:01:00Z")),
            held_by: (!active).then_some(WaitsFor::Paused),
            probing: None,
            subscription_deleted_at: deleted.then(|| at("2026-01-01T00:00:20Z")),
        }
    }

    fn shown_at(stored: StoredState, now: &str) -> NotificationState {
        stored.shown(at(now), at("2026-01-01T00:00:00Z"))
    }

    #[test]
    fn what_waits_shows_by_its_lease_and_its_subscription() {
        let (before, after) = ("2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z");
        let name_at = |stored, now| shown_at(stored, now).name();
        assert_eq!(name_at(waiting(false, true, false), before), StateName::Pending);
        assert_eq!(name_at(waiting(true, true, false), before), StateName::Delivering);
        assert_eq!(name_at(waiting(true, true, false), after), StateName::Pending);
        assert_eq!(name_at(waiting(true, false, false), before), StateName::Delivering);
        assert_eq!(name_at(waiting(false, false, false), before), StateName::Held);
        let cancelled = NotificationState::Cancelled { at: at("2026-01-01T00:00:20Z") };
        assert_eq!(shown_at(waiting(true, true, true), before), cancelled);
        assert_eq!(name_at(StoredState::Delivered, before), StateName::Delivered);
    }

    #[test]
    fn a_resend_is_refused_only_under_a_lease_and_a_cancel_only_at_the_end() {
        let state = |stored| shown_at(stored, "2026-01-01T00:00:30Z");
        assert_eq!(state(waiting(true, true, false)).resend(), Err(Refused::UnderWay));
        assert_eq!(state(StoredState::Delivered).resend(), Ok(()));
        assert_eq!(state(waiting(true, true, false)).cancel(), Ok(()));
        assert_eq!(state(StoredState::Exhausted).cancel(), Err(Refused::Final(StateName::Exhausted)));
    }

    #[test]
    fn what_waits_says_for_what_and_when_it_is_over() {
        let (due, later) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:05:00Z"));
        let pause = |answers: Option<u32>| Probing {
            not_before: at("2026-01-01T00:02:00Z"),
            probe: None,
            cause: answers.map_or(Cause::Unreached, |answers| Cause::ReceiverPause { answers }),
        };
        let waiting = |due_at, held_by, probing| StoredState::Waiting {
            due_at,
            leased_until: None,
            held_by,
            probing,
            subscription_deleted_at: None,
        };
        let now = at("2026-01-01T00:01:00Z");
        for (stored, waits_for, next) in [
            (waiting(due, None, None), None, Some(due)),
            (waiting(later, None, None), Some(WaitsFor::Retry), Some(later)),
            (waiting(later, None, Some(pause(Some(1)))), Some(WaitsFor::Retry), Some(later)),
            (
                waiting(due, None, Some(pause(Some(1)))),
                Some(WaitsFor::Receiver),
                Some(pause(None).not_before),
            ),
            (waiting(due, None, Some(pause(None))), Some(WaitsFor::Probe), Some(pause(None).not_before)),
            (waiting(due, Some(WaitsFor::Disabled), Some(pause(None))), Some(WaitsFor::Disabled), None),
            (StoredState::Delivered, None, None),
        ] {
            let shown = match stored.shown(now, now) {
                NotificationState::Pending { next_attempt_at } => Some(next_attempt_at),
                _ => None,
            };
            assert_eq!((stored.waits_for(now), shown), (waits_for, next), "{stored:?}");
        }
    }
}
