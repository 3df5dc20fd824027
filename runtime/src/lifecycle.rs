//! How a process ends: softly, then hard.
//!
//! *Soft*: no new work is taken, what is in flight finishes. *Hard*: the grace period is over,
//! whatever still runs is dropped; leases, transactions and unacknowledged messages make that safe.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells every part of a process that it is time to stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// Nobody has asked to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops softly on SIGTERM or SIGINT, and hard when `grace` has passed or a second signal comes.
    pub fn on_signals(grace: Duration) -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
            tokio::select! { () = next() => {}, () = stop.soft.cancelled() => {} }
            tracing::info!(grace_seconds = grace.as_secs(), "shutdown.soft");
            stop.soft.cancel();
            tokio::select! { () = next() => {}, () = tokio::time::sleep(grace) => {} }
            tracing::warn!("shutdown.hard");
            stop.hard.cancel();
        });
        Ok(shutdown)
    }

    /// Asks every part to take no new work.
    pub fn stop_softly(&self) {
        self.soft.cancel();
    }

    /// Asks every part to drop what it is doing.
    pub fn stop_hard(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether no new work is to be taken.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Waits until no new work is to be taken.
    pub async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    /// Waits until the grace period is over.
    pub async fn hard_stop(&self) {
        self.hard.cancelled().await;
    }

    /// Runs `work` to its end, or drops it at the hard stop (`None`).
    pub async fn unless_hard<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.hard.run_until_cancelled(work).await
    }

    /// Runs `work` to its end, or drops it at the soft stop (`None`); for waiting, not for working.
    pub async fn unless_stopping<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.soft.run_until_cancelled(work).await
    }
}
