//! Measures what is left open.

use std::sync::Arc;

use async_trait::async_trait;
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::bounded;

use crate::metrics::Metrics;
use crate::store::Store;

/// Shows how many exceptions are open and how many requests wait.
pub struct Watch {
    /// The books.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Where it is shown.
    pub metrics: Metrics,
}

#[async_trait]
impl Worker for Watch {
    fn name(&self) -> &'static str {
        "books.watch"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let standing = bounded(self.store.standing()).await?;
        self.metrics.standing(&standing, self.clock.now());
        Ok(Progress::Idle)
    }
}
