//! Waiting at start for what a process can't work without.

use std::error::Error;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::lifecycle::Shutdown;
use crate::problem::Chain;
use crate::recurring::Recurring;

/// Calls `open` until it succeeds, waiting 100 ms to 5 s in between, with a log line for each
/// failure; `None` when the process is stopped meanwhile. `what` is how the log calls it.
pub async fn until_open<T, E, F>(
    what: &'static str,
    shutdown: &Shutdown,
    mut open: impl FnMut() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .build();
    let failures = Recurring::default();
    loop {
        let error = match shutdown.unless_stopping(open()).await? {
            Ok(opened) => return Some(opened),
            Err(error) => error.into(),
        };
        let error = Chain(&*error).to_string();
        if let Some(times) = failures.note(&error) {
            tracing::warn!(startup.waits_for = what, error, times, "startup.waiting");
        }
        shutdown.unless_stopping(tokio::time::sleep(delays.next().unwrap_or_default())).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_tries_until_it_succeeds() {
        let mut tries = 0;
        let shutdown = Shutdown::new();
        let opened = until_open("it", &shutdown, || {
            tries += 1;
            std::future::ready(if tries == 2 { Ok(7) } else { Err("not yet") })
        });
        assert_eq!(opened.await, Some(7));
    }

    #[tokio::test]
    async fn it_gives_up_when_the_process_is_stopped() {
        let shutdown = Shutdown::new();
        let opened = until_open("it", &shutdown, || {
            shutdown.stop_softly();
            std::future::ready(Err::<(), _>("never"))
        });
        assert_eq!(opened.await, None);
    }
}
