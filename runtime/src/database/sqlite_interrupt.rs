//! Long reads of `SQLite`, ended when their caller is gone.

use std::sync::{Arc, Weak};

use sqlx::Error;
use sqlx::sqlite::SqliteConnection;

/// How many instructions of `SQLite`'s machine run between two looks: some milliseconds.
const INSTRUCTIONS: i32 = 100_000;

/// What runs on a connection ends soon after this is dropped. A statement runs in a thread of its own,
/// which does not notice by itself that its caller has given up, and would read a large table to its end.
#[derive(Debug)]
pub struct EndsWithCaller(#[expect(dead_code, reason = "it is held")] Arc<()>);

impl EndsWithCaller {
    /// From now on, until [`EndsWithCaller::done`].
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn begin(connection: &mut SqliteConnection) -> Result<Self, Error> {
        let caller = Arc::new(());
        let seen: Weak<()> = Arc::downgrade(&caller);
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || seen.strong_count() > 0);
        Ok(Self(caller))
    }

    /// The connection serves others again.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn done(self, connection: &mut SqliteConnection) -> Result<(), Error> {
        connection.lock_handle().await?.remove_progress_handler();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::database::{Sqlite, SqlitePool, open_sqlite};

    const PATIENCE: Duration = Duration::from_secs(20);
    /// Counts without end.
    const LONG: &str =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    async fn database() -> (Sqlite, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        (open_sqlite(&folder.path().join("read.db")).await.expect("opens"), folder)
    }

    /// Begins a long read and gives it up at once.
    async fn give_up(reader: &SqlitePool) -> EndsWithCaller {
        let mut lease = reader.acquire().await.expect("a connection");
        let caller = EndsWithCaller::begin(&mut lease).await.expect("it serves");
        let read = sqlx::query(LONG).execute(&mut *lease);
        assert!(read.now_or_never().is_none(), "it has no end");
        caller
    }

    async fn until_idle(reader: &SqlitePool) {
        let wait = async {
            while reader.busy() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("each read ends");
    }

    #[tokio::test]
    async fn a_long_read_ends_when_its_caller_is_gone_and_no_others_run_beside_those_that_go_on() {
        let (Sqlite { mut reader, .. }, _folder) = database().await;
        let mut callers = Vec::new();
        for _ in 0..4 {
            callers.push(give_up(&reader).await);
        }
        reader.limits.acquire = Duration::from_millis(200);
        let refused = reader.acquire().await.map(drop).expect_err("four reads go on").to_string();
        assert!(refused.contains("all 4 connections are in use"), "{refused}");
        callers.clear();
        until_idle(&reader).await;
        assert_eq!(sqlx::query_scalar("SELECT 1").fetch_one(&reader).await.ok(), Some(1));
    }

    #[tokio::test]
    async fn a_connection_that_serves_on_ends_nothing() {
        let (Sqlite { reader, .. }, _folder) = database().await;
        let mut lease = reader.acquire().await.expect("a connection");
        let caller = EndsWithCaller::begin(&mut lease).await.expect("it serves");
        caller.done(&mut lease).await.expect("it serves");
        let long = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)
                    SELECT count(*) FROM n";
        let counted: i64 = sqlx::query_scalar(long).fetch_one(&mut *lease).await.expect("counted");
        lease.release();
        assert_eq!((counted, reader.given_up()), (300_000, 0));
    }
}
