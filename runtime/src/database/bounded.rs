//! A bound on the time that the one writer of a process waits for its database.

use std::future::Future;
use std::io;
use std::time::Duration;

use super::{StoreError, StoreResult};

/// Longer than a healthy database ever takes for a batch, `SQLite`'s wait for another process's
/// write (10 s) included; shorter than a request may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits for `work`, but not for ever: a server that vanished without closing its connections
/// would otherwise hold the caller until TCP gives up, a quarter of an hour later. Whether anything
/// was written is unknown then, as with every [`StoreError::Unavailable`].
pub async fn bounded<T>(work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| {
        let silent = io::Error::new(io::ErrorKind::TimedOut, "no answer within 20 s");
        Err(StoreError::Unavailable(sqlx::Error::Io(silent)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_unavailable() {
        let silent = bounded(std::future::pending::<StoreResult<()>>()).await;
        assert!(matches!(silent, Err(StoreError::Unavailable(_))));
    }
}
