//! Gives leases back that no attempt was made with, those that are given up together in one group.

use std::sync::Arc;

use async_trait::async_trait;
use runtime::SharedClock;
use runtime::batcher::HandleBatch;
use runtime::database::bounded;
use runtime::problem::Chain;
use runtime::recurring::Recurring;

use crate::store::{DeliveryStore, Unused};

static NOT_GIVEN_BACK: Recurring = Recurring::new();

/// The writer. What it can't write is free again when its lease is over.
pub struct Returner {
    store: Arc<dyn DeliveryStore>,
    clock: SharedClock,
}

impl Returner {
    /// Gives back to `store`.
    pub fn new(store: Arc<dyn DeliveryStore>, clock: SharedClock) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl HandleBatch for Returner {
    type Item = Unused;
    type Answer = ();

    async fn handle(&mut self, unused: Vec<Unused>) -> Vec<()> {
        if let Err(error) = bounded(self.store.give_back(&unused, self.clock.now())).await
            && let Some(times) = NOT_GIVEN_BACK.note(&Chain(&error))
        {
            tracing::warn!(leases = unused.len(), error = %Chain(&error), times, "leases.not_given_back");
        }
        vec![(); unused.len()]
    }
}
