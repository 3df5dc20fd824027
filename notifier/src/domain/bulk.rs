//! Resending or cancelling many notifications, in the background and in batches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, TimeDelta, Utc};
use runtime::validation::Invalid;
use uuid::Uuid;

use super::audit::Action;
use super::notification::StateName;
use super::span::{self, Arrivals};
use super::{EventPattern, FailureClass, Span, States, SubscriptionId, SubscriptionState};

/// What is done to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAction {
    /// It is resent: a replay.
    Replay,
    /// It is given up: a cancellation.
    Cancellation,
}

impl BulkAction {
    /// The action as it is stored, and named in reasons.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Cancellation => "cancellation",
        }
    }

    /// Reads what [`BulkAction::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Replay, Self::Cancellation].into_iter().find(|action| action.as_str() == text)
    }

    /// What it is in the audit trail of each notification.
    pub fn audited(self) -> Action {
        match self {
            Self::Replay => Action::Replay,
            Self::Cancellation => Action::Cancellation,
        }
    }

    /// The states that it can do something to, and takes when it is told none.
    pub fn states(self) -> States {
        match self {
            Self::Replay => States::ALL,
            Self::Cancellation => States::WAITING,
        }
    }
}

/// Which notifications are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkFilter {
    /// Of this subscription; `None`: of every one, which the operator alone may ask for.
    pub subscription: Option<SubscriptionId>,
    /// Only those in these states, as they stand when it is their turn.
    pub states: States,
    /// Only those about events of these types.
    pub event_type: Option<EventPattern>,
    /// Only those whose last attempt failed for one of these reasons; any if empty.
    pub failure_classes: Vec<FailureClass>,
    /// Only those that came in at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those that came in before this time.
    pub created_to: Option<DateTime<Utc>>,
}

impl BulkFilter {
    /// All that `action` can do something to.
    pub fn all(action: BulkAction, subscription: SubscriptionId) -> Self {
        Self {
            subscription: Some(subscription),
            states: action.states(),
            event_type: None,
            failure_classes: Vec::new(),
            created_from: None,
            created_to: None,
        }
    }

    /// Refuses a filter that nothing can match.
    pub fn check(&self, action: BulkAction) -> Result<(), Invalid> {
        if action == BulkAction::Replay && self.states == States::of(&[StateName::Delivering]) {
            return Err(Invalid::field("state", "an attempt under way can't be resent"));
        }
        if self.states.and(action.states()) != self.states {
            let right = "must be one or more of pending, delivering, held: what is final can't be cancelled";
            return Err(Invalid::field("state", right));
        }
        match (self.created_from, self.created_to) {
            (Some(from), Some(to)) if from >= to => {
                Err(Invalid::field("created_to", "must be later than created_from"))
            }
            _ => Ok(()),
        }
    }
}

/// What a replay would send, had it run now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many notifications of each subscription it would resend, by id.
    pub subscriptions: BTreeMap<SubscriptionId, Previewed>,
    /// Whether there may be more: looking stopped at a bound.
    pub capped: bool,
}

/// The part of one subscription in a [`Preview`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previewed {
    /// The subscription's name.
    pub name: String,
    /// Whose it is; `None`: the operator's.
    pub merchant: Option<String>,
    /// Whether what is resent goes out, or is held.
    pub state: SubscriptionState,
    /// How many of its notifications.
    pub matched: u64,
}

impl Preview {
    /// How many notifications it would resend.
    pub fn matched(&self) -> u64 {
        self.subscriptions.values().map(|one| one.matched).sum()
    }

    /// Adds what another look has found.
    pub fn add(&mut self, found: impl IntoIterator<Item = (SubscriptionId, Previewed)>) {
        for (id, more) in found {
            match self.subscriptions.entry(id) {
                Entry::Occupied(mut known) => known.get_mut().matched += more.matched,
                Entry::Vacant(place) => drop(place.insert(more)),
            }
        }
    }
}

/// A bulk action and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// Its id.
    pub id: Uuid,
    /// What it does.
    pub action: BulkAction,
    /// The owner of its subscription, who may watch it; `None`: the operator.
    pub merchant: Option<String>,
    /// To which notifications. What comes in after `created_at` is left out.
    pub filter: BulkFilter,
    /// Who asked for it.
    pub actor: String,
    /// Why, as they said.
    pub reason: Option<String>,
    /// Notifications found so far.
    pub matched: u64,
    /// Those of them that it was done to; to the others it could not be, as they stood.
    pub changed: u64,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was through; `None` while it runs.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Bulk {
    /// Where to look for what it means, oldest first, above the id that it has come to.
    pub fn spans(&self, cursor: Option<Uuid>, arrivals: &[Arrivals]) -> Vec<Span> {
        let end = self.created_at + TimeDelta::microseconds(1);
        let to = self.filter.created_to.map_or(end, |to| to.min(end));
        let mut spans = span::came_in(self.filter.created_from, Some(to), arrivals);
        spans.reverse();
        let above = |span: Span| cursor.map_or(Some(span), |cursor| span.above(cursor));
        spans.into_iter().filter_map(above).collect()
    }

    /// The reason in each notification's audit: which one, and why.
    pub fn audit_reason(&self) -> String {
        let what = self.action.as_str();
        match &self.reason {
            Some(reason) => format!("{what} {}: {reason}", self.id),
            None => format!("{what} {}", self.id),
        }
    }
}
