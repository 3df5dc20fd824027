//! Bounds on the time that background work waits for its database.

use std::future::Future;
use std::time::Duration;

use super::{StoreResult, usage};

/// Longer than a healthy database ever takes for a batch, `SQLite`'s wait for another process's
/// write (10 s) included; shorter than a request may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Longer than upkeep ever takes, which moves and drops whole days and counts what waits.
const UPKEEP_LIMIT: Duration = Duration::from_mins(5);

/// Waits for `work`, but not for ever: a server that vanished without closing its connections
/// would otherwise hold the caller until TCP gives up, a quarter of an hour later. Whether anything
/// was written is unknown then, as with every [`super::StoreError::Unavailable`]. The connection is
/// closed.
pub async fn bounded<T>(work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    bounded_by(LIMIT, work).await
}

/// The same for upkeep, which may take minutes.
pub async fn bounded_upkeep<T>(work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    bounded_by(UPKEEP_LIMIT, work).await
}

async fn bounded_by<T>(limit: Duration, work: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(usage::silent(limit).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::StoreError;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_unavailable() {
        for silent in [
            bounded(std::future::pending::<StoreResult<()>>()).await,
            bounded_upkeep(std::future::pending()).await,
        ] {
            assert!(matches!(silent, Err(StoreError::Unavailable(_))));
        }
    }
}
