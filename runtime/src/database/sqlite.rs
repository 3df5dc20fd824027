//! Opening `SQLite`: write-ahead log, one writer, several readers, every commit synced to disk.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::time::Instant;

use super::StoreResult;

/// How long a statement waits for another process's write before the database counts as busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// One database file. Writing through one connection makes writers queue here instead of failing
/// in the file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    /// The only connection that writes. Begin its transactions with `BEGIN IMMEDIATE`.
    pub writer: SqlitePool,
    /// Connections that only read.
    pub reader: SqlitePool,
    /// When the file was last seen to take a write.
    pub proven: Proven,
}

/// When a file was last seen to take a write; shared by all who hold it.
#[derive(Debug, Clone, Default)]
pub struct Proven(Arc<Mutex<Option<Instant>>>);

/// A readiness check writes at most this often, however often it is asked.
const PROOF: Duration = Duration::from_secs(1);

impl Sqlite {
    /// Whether the file takes writes, for readiness: commits a page that changes nothing, so that a
    /// full disk or a read-only file is found.
    pub async fn takes_writes(&self) -> StoreResult<()> {
        let last = *self.proven.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < PROOF) {
            return Ok(());
        }
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        // No program of ours reads this number; writing the one that it has rewrites its page.
        sqlx::query("PRAGMA user_version = 0").execute(&mut *transaction).await?;
        transaction.commit().await?;
        *self.proven.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }
}

/// Opens `file`, making it and its folder when missing.
pub async fn open_sqlite(file: &Path) -> Result<Sqlite, sqlx::Error> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await?;
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let pool = || SqlitePoolOptions::new().acquire_timeout(BUSY_TIMEOUT).test_before_acquire(false);
    let writer = pool().max_connections(1).connect_with(options.clone()).await?;
    let reader = pool().max_connections(READERS).connect_with(options.read_only(true)).await?;
    Ok(Sqlite { writer, reader, proven: Proven::default() })
}
