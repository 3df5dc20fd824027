//! What the service does: one file per use case, each load, decide, commit.

pub mod create_recharge;
pub mod settle_recharge;

use std::sync::Arc;

use runtime::Sources;
use tokio::sync::Notify;

use crate::metrics::Metrics;
use crate::store::Store;

/// What every use case works with.
#[derive(Clone)]
pub struct Tools {
    /// Where recharges are kept.
    pub store: Arc<dyn Store>,
    /// Time and fresh numbers.
    pub sources: Sources,
    /// Rings the relay after a commit that wrote into the outbox.
    pub relay: Arc<Notify>,
    /// Counts what happens.
    pub metrics: Metrics,
}
