//! Opening `SQLite`: write-ahead log, one writer, several readers, every commit synced to disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::time::Instant;

use super::{SqlitePool, StoreResult};
use crate::private_file::{make_private, make_private_folder, restrict};

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
        let mut transaction = self.writer.for_checks().begin_with("BEGIN IMMEDIATE").await?;
        // No program of ours reads this number; writing the one that it has rewrites its page.
        sqlx::query("PRAGMA user_version = 0").execute(&mut *transaction).await?;
        transaction.commit().await?;
        *self.proven.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }
}

/// Opens `file`, making it and its folder when missing.
pub async fn open_sqlite(file: &Path) -> Result<Sqlite, sqlx::Error> {
    make_for_owner(file)?;
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
    Ok(Sqlite { writer: in_file(writer), reader: in_file(reader), proven: Proven::default() })
}

/// A statement that was given up keeps its slot until it has ended: it runs in a thread of this process, of
/// which there are so never more than slots.
fn in_file(connections: sqlx::SqlitePool) -> SqlitePool {
    let mut pool = SqlitePool::from(connections);
    pool.limits.ending = Duration::MAX;
    pool
}

/// Makes `file` and its folder for their owner alone, before `SQLite` makes them by the umask. What
/// `SQLite` makes beside the database later has the database's mode; what is there is restricted.
fn make_for_owner(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_private_folder(folder)?;
    }
    make_private(file)?;
    for suffix in ["-wal", "-shm"] {
        let beside = beside(file, suffix);
        match restrict(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::database::StoreError;

    const FILES: [&str; 3] = ["", "-wal", "-shm"];

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    async fn written(file: &Path) -> Sqlite {
        let database = open_sqlite(file).await.expect("opened");
        let write = sqlx::query("CREATE TABLE IF NOT EXISTS kept (text)").execute(&database.writer);
        write.await.expect("written");
        database
    }

    /// The umask of tests leaves others the right to read.
    #[tokio::test]
    async fn a_database_and_the_files_beside_it_are_their_owners_alone_whoever_made_them() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let file = parent.path().join("made/kept.db");
        let database = written(&file).await;
        assert_eq!(mode(parent.path().join("made").as_path()), 0o700);
        assert_eq!(FILES.map(|suffix| mode(&beside(&file, suffix))), [0o600; 3]);
        for suffix in FILES {
            let open = Permissions::from_mode(0o644);
            fs::set_permissions(beside(&file, suffix), open).expect("its owner may");
        }
        let again = written(&file).await;
        assert_eq!(FILES.map(|suffix| mode(&beside(&file, suffix))), [0o600; 3]);
        drop((database, again));
    }

    #[tokio::test]
    async fn readiness_does_not_queue_behind_a_writer_for_long() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = open_sqlite(&folder.path().join("busy.db")).await.expect("opens");
        let writing = db.writer.begin_with("BEGIN IMMEDIATE").await.expect("begins");
        let asked = tokio::time::timeout(Duration::from_secs(5), db.takes_writes());
        let busy = asked.await.expect("it answers within the time that readiness has");
        assert!(matches!(busy, Err(StoreError::Unavailable(_))), "{busy:?}");
        writing.rollback().await.expect("let go");
        db.takes_writes().await.expect("the writer is free");
    }

    /// `SQLite` rolls back by itself when the file can't grow. The limit is the connection's own, so
    /// the next one finds room again.
    #[tokio::test]
    async fn after_a_full_disk_the_writer_writes_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = open_sqlite(&folder.path().join("full.db")).await.expect("opens");
        sqlx::raw_sql("CREATE TABLE books (entry BLOB)").execute(&db.writer).await.expect("made");
        sqlx::raw_sql("PRAGMA max_page_count = 4").execute(&db.writer).await.expect("set");
        let write = async |bytes: i64| {
            let mut transaction = db.writer.begin_with("BEGIN IMMEDIATE").await?;
            let entry = sqlx::query("INSERT INTO books VALUES (zeroblob(?1))").bind(bytes);
            entry.execute(&mut *transaction).await?;
            transaction.commit().await
        };
        let full = StoreError::from(write(1_000_000).await.expect_err("the file can't grow"));
        assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
        for _ in 0..3 {
            write(1_000_000).await.expect("there is room again");
        }
        let entries: i64 =
            sqlx::query_scalar("SELECT count(*) FROM books").fetch_one(&db.reader).await.expect("a count");
        assert_eq!((entries, db.writer.given_up()), (3, 1));
    }
}
