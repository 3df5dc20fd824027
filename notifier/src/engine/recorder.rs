//! Writes the results of attempts, those that end together in one group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::SharedClock;
use runtime::batcher::HandleBatch;
use runtime::database::{StoreError, StoreResult, bounded};
use runtime::problem::Chain;
use runtime::recurring::Recurring;

use crate::domain::DisableAfter;
use crate::domain::attempt::AttemptResult;
use crate::store::{DeliveryStore, Recorded};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

static UNWRITABLE: Recurring = Recurring::new();
static NOT_RECORDED: Recurring = Recurring::new();

/// What became of a result that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The store has answered.
    Stored(Recorded),
    /// It could not be written before its lease was over: the attempt will be made again.
    Unwritten,
}

/// The writer. While the database is down it tries again until the results' leases are over.
pub struct Recorder {
    store: Arc<dyn DeliveryStore>,
    clock: SharedClock,
    disable_after: DisableAfter,
}

impl Recorder {
    /// Writes into `store`, which disables those who have failed for longer than `disable_after`.
    pub fn new(store: Arc<dyn DeliveryStore>, clock: SharedClock, disable_after: DisableAfter) -> Self {
        Self { store, clock, disable_after }
    }

    /// While the clock is not trusted nobody is disabled by it.
    fn disable_after(&self) -> DisableAfter {
        if self.clock.is_trusted() { self.disable_after } else { DisableAfter::NEVER }
    }

    /// When the last of the leases ends that could let a result count, by the steady clock.
    fn end_of(&self, group: &[AttemptResult]) -> DateTime<Utc> {
        let last = group.iter().map(|result| result.lease.until()).max();
        last.map_or(DateTime::UNIX_EPOCH, |until| self.clock.steady_at(until))
    }

    /// Writes a group; on an error that is the store's own and not an outage, each result by
    /// itself, so that one that can't be written holds none of the others back.
    async fn write(&self, group: &[AttemptResult]) -> StoreResult<Vec<Fate>> {
        match bounded(self.store.record(group, self.disable_after(), self.clock.now())).await {
            Ok(recorded) => Ok(recorded.into_iter().map(Fate::Stored).collect()),
            Err(StoreError::Unavailable(error)) => Err(StoreError::Unavailable(error)),
            Err(error) if group.len() == 1 => {
                if let Some(times) = UNWRITABLE.note(&Chain(&error)) {
                    tracing::error!(notification.id = %group[0].notification, error = %Chain(&error), times, "attempt.unwritable");
                }
                Ok(vec![Fate::Unwritten])
            }
            Err(_) => {
                let mut fates = Vec::with_capacity(group.len());
                for result in group {
                    fates.extend(Box::pin(self.write(std::slice::from_ref(result))).await?);
                }
                Ok(fates)
            }
        }
    }
}

#[async_trait]
impl HandleBatch for Recorder {
    type Item = AttemptResult;
    type Answer = Fate;

    async fn handle(&mut self, group: Vec<AttemptResult>) -> Vec<Fate> {
        let (mut pause, end) = (FIRST_PAUSE, self.end_of(&group));
        loop {
            let error = match self.write(&group).await {
                Ok(fates) => return fates,
                Err(error) => error,
            };
            if let Some(times) = NOT_RECORDED.note(&Chain(&error)) {
                tracing::warn!(results = group.len(), error = %Chain(&error), times, "attempts.not_recorded_yet");
            }
            if self.clock.steady() >= end {
                return vec![Fate::Unwritten; group.len()];
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
