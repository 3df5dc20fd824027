//! What both stores decide alike about the notification log.

use super::NotificationFilter;
use crate::domain::Notification;
use crate::domain::notification::{Refused, StateName};

/// A notification goes out again unless its subscription is gone or its state refuses.
pub(super) fn may_resend(notification: &Notification, deleted: bool) -> Result<(), Refused> {
    if deleted { Err(Refused::SubscriptionDeleted) } else { notification.state.resend() }
}

/// A notification is given up unless it is final already.
pub(super) fn may_cancel(notification: &Notification, _: bool) -> Result<(), Refused> {
    notification.state.cancel()
}

/// One of the two tables that hold notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// What is not final; and what the deletion of its subscription has cancelled, until it is moved.
    Waiting,
    /// What is final.
    Finished,
}

impl Table {
    /// Its name in the database.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Finished => "notifications",
        }
    }

    /// Where notifications that are shown in `state` lie.
    pub(super) fn holding(state: Option<StateName>) -> &'static [Self] {
        match state {
            None | Some(StateName::Cancelled) => &[Self::Waiting, Self::Finished],
            Some(StateName::Pending | StateName::Delivering | StateName::Held) => &[Self::Waiting],
            Some(StateName::Delivered | StateName::Exhausted) => &[Self::Finished],
        }
    }
}

/// What leads to the notifications that a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// A few events.
    Events,
    /// The subscriptions concerned, each with an index of its own notifications.
    Subscriptions,
    /// The order of the list.
    Order,
}

impl Lead {
    /// The lead into `table` that passes by the fewest notifications which are not asked for.
    pub(super) fn into(table: Table, filter: &NotificationFilter) -> Self {
        let by_subscription = filter.subscription.is_some() || filter.owner.is_some();
        match table {
            _ if filter.event_id.is_some() || filter.subject.is_some() => Self::Events,
            _ if by_subscription => Self::Subscriptions,
            // What waits is shown in one state or another by its subscription.
            Table::Waiting if filter.state.is_some() => Self::Subscriptions,
            Table::Waiting | Table::Finished => Self::Order,
        }
    }
}

/// The final states that a list of `state` shows; each is a range of one index.
pub(super) fn final_states(state: Option<StateName>) -> impl Iterator<Item = StateName> {
    let all = StateName::ALL.into_iter().filter(|name| name.is_final());
    all.filter(move |name| state.is_none_or(|state| state == *name))
}

/// The condition on a subscription `s` whose waiting notifications are shown in `state`; see
/// `StoredState::shown`.
pub(super) fn shown_as(state: StateName) -> &'static str {
    match state {
        StateName::Pending => " AND s.deleted_at IS NULL AND s.state = 'active'",
        StateName::Held => " AND s.deleted_at IS NULL AND s.state <> 'active'",
        StateName::Delivering => " AND s.deleted_at IS NULL",
        StateName::Cancelled => " AND s.deleted_at IS NOT NULL",
        StateName::Delivered | StateName::Exhausted => " AND FALSE",
    }
}
