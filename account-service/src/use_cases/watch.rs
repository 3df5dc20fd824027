//! Measures what is left open.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{StoreResult, bounded};

use crate::domain::{Nightly, UnreconciledDays};
use crate::metrics::Metrics;
use crate::store::Store;

/// Shows how many exceptions are open, how many requests wait, and which days are not reconciled.
pub struct Watch {
    /// The books.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// When days are reconciled.
    pub nightly: Nightly,
    /// Where it is shown.
    pub metrics: Metrics,
}

/// The days that are over and not reconciled; `None` where none ever was to be.
pub async fn unreconciled_days(
    store: &dyn Store,
    nightly: Nightly,
    now: DateTime<Utc>,
) -> StoreResult<Option<UnreconciledDays>> {
    let reconciled = store.reconciled(now).await?;
    if nightly == Nightly::Off && reconciled.first.is_none() {
        return Ok(None);
    }
    Ok(nightly.last_over(now).map(|last| reconciled.unreconciled(last)))
}

#[async_trait]
impl Worker for Watch {
    fn name(&self) -> &'static str {
        "books.watch"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let standing = bounded(self.store.standing()).await?;
        let now = self.clock.now();
        self.metrics.standing(&standing, now);
        let days = bounded(unreconciled_days(&*self.store, self.nightly, now)).await?;
        self.metrics.days(&days.unwrap_or_default(), now);
        Ok(Progress::Idle)
    }
}
