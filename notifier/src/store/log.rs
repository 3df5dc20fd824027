//! What both stores decide alike about the notification log.

use messaging::EventKey;
use runtime::http::Page;
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::NotificationFilter;
use crate::domain::notification::{Refused, StateName};
use crate::domain::pattern::{Family, Types};
use crate::domain::span::{self, Arrivals};
use crate::domain::{EventPattern, Notification, Span, States};

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
}

/// A part of a table that a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// All of `waiting`.
    Waiting,
    /// That of subscriptions that are not deleted.
    Living,
    /// What is shown in one state, by its lease and its subscription.
    Shown(StateName),
    /// What is pending and has not been tried, since its endpoint is unreachable or its receiver asked for a pause.
    Untried,
    /// The finished ones in these states.
    Finished(States),
}

impl Source {
    /// The table it is a part of.
    pub(super) fn table(self) -> Table {
        match self {
            Self::Waiting | Self::Living | Self::Shown(_) | Self::Untried => Table::Waiting,
            Self::Finished(_) => Table::Finished,
        }
    }
}

/// Where notifications in `states` lie.
pub(super) fn sources(states: States) -> Vec<Source> {
    let waiting = states.and(States::WAITING);
    let mut sources = match (waiting == States::WAITING, states.contains(StateName::Cancelled)) {
        (true, true) => vec![Source::Waiting],
        (true, false) => vec![Source::Living],
        (false, _) => states
            .without(StateName::Delivered)
            .without(StateName::Exhausted)
            .iter()
            .map(Source::Shown)
            .collect(),
    };
    let finished = states.and(States::FINAL);
    if !finished.is_empty() {
        sources.push(Source::Finished(finished));
    }
    sources
}

/// Where what `filter` asks for lies. What is delivered has no failure. What waits behind an endpoint that fails has
/// the failure of that.
pub(super) fn sources_of(filter: &NotificationFilter) -> Vec<Source> {
    if filter.failure_classes.is_empty() {
        return sources(filter.states);
    }
    let mut sources = sources(filter.states.without(StateName::Delivered));
    if filter.states.contains(StateName::Pending) {
        sources.push(Source::Untried);
    }
    sources
}

/// What leads to the notifications that a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// A few events.
    Events,
    /// The subscriptions concerned, each with an index of its own notifications.
    Subscriptions,
    /// The classes of failures, each with an index of those that failed so.
    Failures,
    /// The final states but delivered, each with an index of its own.
    States,
    /// The order of the list.
    Order,
}

impl Lead {
    /// The lead into `source` that passes by the fewest notifications which are not asked for;
    /// `by_type`: see [`goes_by_type`].
    pub(super) fn into(source: Source, filter: &NotificationFilter, by_type: bool) -> Self {
        match source {
            _ if of_few_events(filter) => Self::Events,
            _ if of_some_subscriptions(filter) => Self::Subscriptions,
            _ if by_type => Self::Events,
            // What is so in a subscription that is active is little, or it waits for its turn.
            Source::Untried
            | Source::Shown(StateName::Delivering | StateName::Held | StateName::Cancelled) => {
                Self::Subscriptions
            }
            _ if !filter.failure_classes.is_empty() => Self::Failures,
            // What waits is shown in one state or another by its subscription.
            Source::Living | Source::Shown(_) => Self::Subscriptions,
            Source::Finished(states) if !states.contains(StateName::Delivered) => Self::States,
            Source::Waiting | Source::Finished(_) => Self::Order,
        }
    }
}

fn of_few_events(filter: &NotificationFilter) -> bool {
    filter.event_id.is_some() || filter.subject.is_some()
}

fn of_some_subscriptions(filter: &NotificationFilter) -> bool {
    filter.subscription.is_some() || filter.owner.is_some()
}

/// Whether a list is made by going through the events of its types, a number of them at a time: most
/// have a notification to show then.
pub(super) fn goes_by_type(filter: &NotificationFilter) -> bool {
    let of_types =
        filter.event_type.as_ref().is_some_and(|pattern| !matches!(pattern.types(), Types::But(_)));
    let others = of_few_events(filter) || of_some_subscriptions(filter) || !filter.failure_classes.is_empty();
    of_types && !others && filter.states.contains(StateName::Delivered)
}

/// A list that would go through more types than this is made in its order instead.
pub(super) const MAX_TYPES: usize = 200;

/// The condition on the type of an event `e`.
pub(super) fn push_types<DB>(query: &mut QueryBuilder<DB>, pattern: &EventPattern)
where
    DB: Database,
    for<'v> String: Encode<'v, DB> + Type<DB>,
{
    match pattern.types() {
        Types::One(kind) => query.push(" AND e.type = ").push_bind(kind.to_owned()),
        Types::Family(Family { from, to }) => {
            query.push(" AND e.type >= ").push_bind(from).push(" AND e.type < ").push_bind(to)
        }
        Types::But(Family { from, to }) => {
            query.push(" AND NOT (e.type >= ").push_bind(from).push(" AND e.type < ").push_bind(to).push(")")
        }
    };
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
    // Every key of an event with a UUIDv7 is of that id's millisecond.
    let own_id = filter.event_id.as_deref().and_then(EventKey::of_id);
    let about = own_id.map_or(Span::ALL, |key| Span::around(key.0));
    let spans = span::came_in(filter.created_from, filter.created_to, arrivals).into_iter();
    let spans = spans.filter_map(|span| span.and(about));
    spans.filter_map(|span| page.after.map_or(Some(span), |after| span.below(after))).collect()
}

/// The condition on a subscription `s` for its notifications to be in `source`; see
/// `StoredState::shown`.
pub(super) fn shown_in(source: Source) -> &'static str {
    match source {
        Source::Waiting | Source::Finished(_) => "",
        Source::Living => " AND s.deleted_at IS NULL",
        Source::Shown(state) => shown_as(state),
        Source::Untried => shown_as(StateName::Pending),
    }
}

/// The condition on a subscription `s` whose waiting notifications are shown in `state`; see
/// `StoredState::shown`.
fn shown_as(state: StateName) -> &'static str {
    match state {
        StateName::Pending => " AND s.deleted_at IS NULL AND s.state = 'active'",
        StateName::Held => " AND s.deleted_at IS NULL AND s.state <> 'active'",
        StateName::Delivering => " AND s.deleted_at IS NULL",
        StateName::Cancelled => " AND s.deleted_at IS NOT NULL",
        StateName::Delivered | StateName::Exhausted => " AND FALSE",
    }
}
