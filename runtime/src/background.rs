//! Background loops: a `run_once` that tests call, and the one thin loop around it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Notify;

use crate::lifecycle::Shutdown;
use crate::problem::Chain;
use crate::recurring::Recurring;

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

impl Progress {
    /// Nothing to do for `least`, and for so long that a round that `took` so much fills at most a
    /// twentieth of the time: for measuring what may have grown large.
    pub fn rest(took: Duration, least: Duration) -> Self {
        Self::IdleFor(least.max(took.saturating_mul(19)))
    }
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
impl<W: Worker + ?Sized> Worker for &mut W {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        (**self).run_once().await
    }
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
/// has passed; after an error with exponential backoff (100 ms to 5 s). A worker that panics stops
/// the process: half alive it would go on taking work that nobody does.
pub async fn run(mut worker: impl Worker, wake: Arc<Notify>, poll: Duration, shutdown: Shutdown) {
    let _guard = StopOnPanic { worker: worker.name(), shutdown: shutdown.clone() };
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times();
    let (mut delays, failures) = (backoff.build(), Recurring::default());
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
                let error = Chain(&*error).to_string();
                if let Some(times) = failures.note(&error) {
                    tracing::warn!(worker.name = worker.name(), error, times, "worker.round_failed");
                }
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

struct StopOnPanic {
    worker: &'static str,
    shutdown: Shutdown,
}

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(worker.name = self.worker, "worker.panicked");
            self.shutdown.stop_softly();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_takes_a_twentieth_of_the_time_at_the_most() {
        let (least, second) = (Duration::from_secs(5), Duration::from_secs(1));
        assert_eq!(Progress::rest(second / 10, least), Progress::IdleFor(least));
        assert_eq!(Progress::rest(second, least), Progress::IdleFor(second * 19));
    }

    struct Broken;

    #[async_trait]
    impl Worker for Broken {
        fn name(&self) -> &'static str {
            "test.broken"
        }

        async fn run_once(&mut self) -> Result<Progress, RoundError> {
            panic!("a defect")
        }
    }

    struct Failing(u32);

    #[async_trait]
    impl Worker for Failing {
        fn name(&self) -> &'static str {
            "test.failing"
        }

        async fn run_once(&mut self) -> Result<Progress, RoundError> {
            self.0 += 1;
            Err("the broker does not answer".into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_an_hour_is_a_line_for_each_cause_and_ten_seconds() {
        let (log, _guard) = crate::testing::log::Log::start();
        let (shutdown, mut worker) = (Shutdown::new(), Failing(0));
        let running = run(&mut worker, Arc::new(Notify::new()), Duration::from_secs(1), shutdown.clone());
        let hour = async {
            tokio::time::sleep(Duration::from_hours(1)).await;
            shutdown.stop_softly();
        };
        tokio::join!(running, hour);
        let lines = log.take();
        assert!(lines.len() <= 361, "{} lines", lines.len());
        assert!(worker.0 > 700, "it was tried all the time: {}", worker.0);
        assert!(lines.last().is_some_and(|line| line.contains("times=2")), "{:?}", lines.last());
    }

    #[tokio::test]
    async fn a_worker_that_panics_stops_its_process_instead_of_leaving_it_half_alive() {
        let shutdown = Shutdown::new();
        let (wake, poll) = (Arc::new(Notify::new()), Duration::from_secs(1));
        let worker = tokio::spawn(run(Broken, wake, poll, shutdown.clone()));
        assert!(worker.await.expect_err("it panicked").is_panic());
        assert!(shutdown.is_stopping());
    }
}
