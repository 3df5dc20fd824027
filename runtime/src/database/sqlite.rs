//! Opening `SQLite`: write-ahead log, one writer, several readers, every commit synced to disk.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

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
    Ok(Sqlite { writer, reader })
}
