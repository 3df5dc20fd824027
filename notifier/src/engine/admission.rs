//! Which fresh notifications go out at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{Endpoint, SubscriptionId};
use crate::store;

use super::slots::{Slot, Slots};

/// Admits as many as there are slots and places behind them, and keeps those. What is left is free again when this
/// is dropped.
pub struct Admission<'a> {
    slots: &'a Slots,
    now: DateTime<Utc>,
    taken: BTreeMap<SubscriptionId, VecDeque<Slot>>,
    refused: Vec<SubscriptionId>,
}

impl<'a> Admission<'a> {
    /// Admits from `slots` at `now`.
    pub fn new(slots: &'a Slots, now: DateTime<Utc>) -> Self {
        Self { slots, now, taken: BTreeMap::new(), refused: Vec::new() }
    }

    /// A slot that was taken for a delivery of `subscription`.
    pub fn slot(&mut self, subscription: SubscriptionId) -> Option<Slot> {
        self.taken.get_mut(&subscription)?.pop_front()
    }

    /// Marks the subscriptions whose work now waits in the database.
    pub fn mark_refused(&self) {
        self.refused.iter().for_each(|subscription| self.slots.mark(*subscription));
    }
}

impl store::Admission for Admission<'_> {
    fn admit(&mut self, endpoint: &Arc<Endpoint>) -> bool {
        let subscription = endpoint.subscription;
        if let Some(slot) = self.slots.take_fresh(endpoint, self.now) {
            self.taken.entry(subscription).or_default().push_back(slot);
            return true;
        }
        if self.refused.last() != Some(&subscription) {
            self.refused.push(subscription);
        }
        false
    }
}
