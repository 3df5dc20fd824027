//! What the service does: one file per use case, each load, decide, commit.

pub mod create_recharge;
pub mod settle_recharge;

use std::sync::Arc;

use messaging::outbox::Handover;
use runtime::Sources;

use crate::metrics::Metrics;
use crate::store::Store;

/// What every use case works with.
#[derive(Clone)]
pub struct Tools {
    /// Where recharges are kept.
    pub store: Arc<dyn Store>,
    /// Time and fresh numbers.
    pub sources: Sources,
    /// Tells the relay of what was written into the outbox.
    pub relay: Handover,
    /// Counts what happens.
    pub metrics: Metrics,
}
