//! Taking orders, in batches that share a transaction.

use std::sync::Arc;

use async_trait::async_trait;
use messaging::Event;
use runtime::batcher::{Batcher, HandleBatch};
use runtime::database::{StoreError, StoreResult, bounded};

use super::Tools;
use crate::document::result_event;
use crate::domain::{Order, Recharge};
use crate::store::{NewRecharge, Stored};

/// How many orders share a transaction at most.
const MAX_BATCH: usize = 256;

/// What taking an order came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// A new recharge.
    New(Recharge),
    /// The same order was taken before, as this recharge.
    Before(Recharge),
    /// The order's number was used before by another order, this recharge's.
    Contradicts(Recharge),
}

/// Takes orders one batch at a time. Numbers are given here and not earlier, so that what this
/// process commits becomes visible in the order of its numbers: whoever walks the statement while
/// it grows misses nothing.
pub struct CreateRecharges(Tools);

impl CreateRecharges {
    /// The writer, for its owner to call.
    pub fn new(tools: Tools) -> Self {
        Self(tools)
    }

    /// Spawns the one writer of this process.
    pub fn spawn(tools: Tools) -> Batcher<Self> {
        Batcher::spawn(Self(tools), MAX_BATCH)
    }

    /// Takes `orders` in one transaction. One answer per order, in their order.
    async fn create(&self, orders: Vec<Order>) -> StoreResult<Vec<Created>> {
        let Self(Tools { store, sources, relay, metrics }) = self;
        let mut batch: Vec<NewRecharge> = orders.into_iter().map(|order| self.take(order)).collect();
        let results = batch.iter().filter(|new| new.event.is_some()).count();
        let now = sources.clock.now();
        let reserved = relay.reserve(results, now);
        let lease = reserved.as_ref().map(|reserved| reserved.lease);
        let stored = bounded(store.create(&batch, lease, now)).await?;
        let is_new =
            |(new, stored): (&mut NewRecharge, &Stored)| new.event.take().filter(|_| *stored == Stored::New);
        let events: Vec<Event> = batch.iter_mut().zip(&stored).filter_map(is_new).collect();
        match reserved {
            Some(reserved) => reserved.hand_over(events),
            None => relay.ring(),
        }
        let created = batch.into_iter().zip(stored).map(|(new, stored)| judge(new.recharge, stored));
        Ok(created
            .inspect(|created| {
                if let Created::New(recharge) = created {
                    metrics.count(recharge);
                }
            })
            .collect())
    }

    fn take(&self, order: Order) -> NewRecharge {
        let (ids, now) = (&self.0.sources.ids, self.0.sources.clock.wall());
        let recharge = Recharge::take(ids.next(), order, now);
        let event = result_event(ids.next(), &recharge);
        NewRecharge { recharge, event }
    }
}

fn judge(new: Recharge, stored: Stored) -> Created {
    match stored {
        Stored::New => Created::New(new),
        Stored::Before(before) if before.order == new.order => Created::Before(*before),
        Stored::Before(before) => Created::Contradicts(*before),
    }
}

#[async_trait]
impl HandleBatch for CreateRecharges {
    type Item = Order;
    type Answer = Result<Created, Arc<StoreError>>;

    async fn handle(&mut self, orders: Vec<Order>) -> Vec<Self::Answer> {
        let count = orders.len();
        match self.create(orders).await {
            Ok(created) => created.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(Arc::new(error)); count],
        }
    }
}
