//! Background loops: a `run_once` that tests call, and the one thin loop around it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Notify;

use crate::lifecycle::Shutdown;
use crate::problem::Chain;

/// What one round found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more: the next round follows at once.
    More,
    /// Nothing (more) to do until woken or until the poll comes round.
    Idle,
    /// Nothing (more) to do until woken or until this has passed, if that comes before the poll.
    IdleFor(Duration),
}

/// The error of a round, as the loop logs it.
pub type RoundError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Work done in rounds.
#[async_trait]
pub trait Worker: Send {
    /// The worker's name in logs, such as `outbox.relay`.
    fn name(&self) -> &'static str;

    /// Does one bounded round.
    async fn run_once(&mut self) -> Result<Progress, RoundError>;
}

#[async_trait]
impl<W: Worker + ?Sized> Worker for Box<W> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        (**self).run_once().await
    }
}

/// Rounds until the soft stop: again at once while there is more, else when `wake` rings or `poll`
/// has passed; after an error with exponential backoff (100 ms to 5 s).
pub async fn run(mut worker: impl Worker, wake: Arc<Notify>, poll: Duration, shutdown: Shutdown) {
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times();
    let mut delays = backoff.build();
    while !shutdown.is_stopping() {
        let Some(round) = shutdown.unless_hard(worker.run_once()).await else { return };
        let pause = match round {
            Ok(Progress::More) => {
                delays = backoff.build();
                continue;
            }
            Ok(Progress::Idle) => {
                delays = backoff.build();
                poll
            }
            Ok(Progress::IdleFor(time)) => {
                delays = backoff.build();
                time.min(poll)
            }
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &*error;
                tracing::warn!(worker.name = worker.name(), error = %Chain(error), "worker.round_failed");
                let pause = delays.next().unwrap_or(poll);
                shutdown.unless_stopping(tokio::time::sleep(pause)).await;
                continue;
            }
        };
        let woken = async {
            tokio::select! { () = wake.notified() => {}, () = tokio::time::sleep(pause) => {} }
        };
        shutdown.unless_stopping(woken).await;
    }
}
