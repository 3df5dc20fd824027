//! All subscriptions at one moment, as events are matched and work is shared out.

use std::sync::Arc;

use super::{Endpoint, EventPattern, NewEvent, Subscription, SubscriptionId, SubscriptionState, endpoint};

/// One subscription of the [`Directory`].
#[derive(Debug, Clone)]
pub struct Entry {
    /// What delivery needs to know.
    pub endpoint: Arc<Endpoint>,
    /// Whose it is.
    pub merchant: Option<String>,
    /// Whether its notifications go out.
    pub active: bool,
    patterns: Vec<EventPattern>,
}

impl Entry {
    /// The entry of `subscription`, with its secrets newest first.
    pub fn new(subscription: &Subscription, secrets: Vec<endpoint::SigningSecret>) -> Self {
        Self {
            endpoint: Arc::new(subscription.endpoint(secrets)),
            merchant: subscription.merchant.clone(),
            active: subscription.state == SubscriptionState::Active,
            patterns: subscription.definition.event_types().to_vec(),
        }
    }

    /// A merchant's subscription hears of that merchant's events only; nobody's hears of all.
    fn wants(&self, event: &NewEvent) -> bool {
        let theirs = self.merchant.is_none() || self.merchant == event.merchant;
        theirs && self.patterns.iter().any(|pattern| pattern.matches(&event.kind))
    }
}

/// All subscriptions that are not deleted, by id.
#[derive(Debug, Clone, Default)]
pub struct Directory(Vec<Entry>);

impl Directory {
    /// A directory of `entries`.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.endpoint.subscription);
        Self(entries)
    }

    /// Those whose notifications go out.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.iter().filter(|entry| entry.active).map(|entry| &entry.endpoint)
    }

    /// The endpoint of the subscription with this id, if its notifications go out.
    pub fn active_one(&self, id: SubscriptionId) -> Option<&Arc<Endpoint>> {
        self.get(id).filter(|entry| entry.active).map(|entry| &entry.endpoint)
    }

    /// Those that are to hear of `event`, active or not.
    pub fn matching<'a>(&'a self, event: &'a NewEvent) -> impl Iterator<Item = &'a Entry> {
        self.0.iter().filter(move |entry| entry.wants(event))
    }

    /// The subscription with this id.
    pub fn get(&self, id: SubscriptionId) -> Option<&Entry> {
        let found = self.0.binary_search_by_key(&id, |entry| entry.endpoint.subscription);
        found.ok().map(|index| &self.0[index])
    }
}
