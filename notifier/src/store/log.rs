//! What both stores decide alike about the notification log.

use messaging::EventKey;
use runtime::http::Page;
use uuid::Uuid;

use super::NotificationFilter;
use crate::domain::notification::{Refused, StateName};
use crate::domain::span::{self, Arrivals};
use crate::domain::{Notification, Span};

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
        match table {
            _ if filter.event_id.is_some() || filter.subject.is_some() => Self::Events,
            _ if of_some_subscriptions(filter) => Self::Subscriptions,
            _ if goes_by_type(filter) => Self::Events,
            // What waits is shown in one state or another by its subscription.
            Table::Waiting if filter.state.is_some() => Self::Subscriptions,
            Table::Waiting | Table::Finished => Self::Order,
        }
    }
}

fn of_some_subscriptions(filter: &NotificationFilter) -> bool {
    filter.subscription.is_some() || filter.owner.is_some()
}

/// Whether a list is made by going through the events of a type, a number of them at a time: most
/// have a notification to show then.
pub(super) fn goes_by_type(filter: &NotificationFilter) -> bool {
    let others = filter.event_id.is_some() || filter.subject.is_some() || of_some_subscriptions(filter);
    filter.event_type.is_some() && !others && matches!(filter.state, None | Some(StateName::Delivered))
}

/// The end of `span` that begins with the millisecond of the event `key`; the whole without one.
pub(super) fn newest_of(span: Span, key: Option<Uuid>) -> Span {
    let end = key.and_then(|key| span.and(Span { from: Span::around(key).from, to: span.to }));
    end.unwrap_or(span)
}

/// How many events of a type are looked at first; four times as many each time that is too few.
pub(super) const FIRST_LOOK: i64 = 200;

/// Where to look for what `filter` asks for, newest first, below the id that the page before ended
/// with.
pub(super) fn spans(filter: &NotificationFilter, page: Page, arrivals: &[Arrivals]) -> Vec<Span> {
    let own_id = filter.event_id.as_deref().and_then(EventKey::of_id);
    let about = own_id.map_or(Span::ALL, |key| Span::around(key.0));
    let spans = span::came_in(filter.created_from, filter.created_to, arrivals).into_iter();
    let spans = spans.filter_map(|span| span.and(about));
    spans.filter_map(|span| page.after.map_or(Some(span), |after| span.below(after))).collect()
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
