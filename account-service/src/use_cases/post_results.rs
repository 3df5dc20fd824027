//! Posting results to the books: whole batches as they come, single results in shared batches.

use std::sync::Arc;

use async_trait::async_trait;
use runtime::SharedClock;
use runtime::batcher::{Batcher, HandleBatch, Stopped};
use runtime::database::{StoreError, StoreResult, bounded};
use runtime::problem::Chain;
use runtime::recurring::Recurring;

use crate::domain::{Arrival, Verdict};
use crate::metrics::Metrics;
use crate::store::Store;

/// How many single results share one transaction at most.
const MAX_BATCH: usize = 256;

static FAILED: Recurring = Recurring::new();

/// Posts batches.
#[derive(Clone)]
pub struct PostResults {
    /// The books.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Counts verdicts.
    pub metrics: Metrics,
}

impl PostResults {
    /// Posts `arrivals` in one transaction; one verdict each, in their order.
    pub async fn post(&self, arrivals: &[Arrival]) -> StoreResult<Vec<Verdict>> {
        let verdicts = bounded(self.store.post(arrivals, self.clock.now())).await?;
        for (arrival, verdict) in arrivals.iter().zip(&verdicts) {
            self.metrics.result(arrival.source, verdict);
        }
        Ok(verdicts)
    }
}

/// Why a result was not posted. Nothing of it is stored, or all of it; posting it again tells.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotPosted {
    /// The database failed the whole batch. Logged already.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The process is ending.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

#[async_trait]
impl HandleBatch for PostResults {
    type Item = Arrival;
    type Answer = Result<Verdict, Arc<StoreError>>;

    async fn handle(&mut self, arrivals: Vec<Arrival>) -> Vec<Self::Answer> {
        match self.post(&arrivals).await {
            Ok(verdicts) => verdicts.into_iter().map(Ok).collect(),
            Err(error) => {
                if let Some(times) = FAILED.note(&Chain(&error)) {
                    tracing::error!(error = %Chain(&error), results = arrivals.len(), times, "posting.failed");
                }
                let error = Arc::new(error);
                arrivals.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }
}

/// Posts single results; those that arrive together share a transaction. A caller that hangs up
/// does not stop it.
#[derive(Clone)]
pub struct Posting(Batcher<PostResults>);

impl Posting {
    /// Starts the task that posts.
    pub fn spawn(post: PostResults) -> Self {
        Self(Batcher::spawn(post, MAX_BATCH))
    }

    /// Posts one result.
    pub async fn post(&self, arrival: Arrival) -> Result<Verdict, NotPosted> {
        self.0.submit(arrival).await?.map_err(NotPosted::Store)
    }
}
