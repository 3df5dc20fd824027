//! Backups of a service's database, taken while it runs and restored while it does not, by the commands of
//! `docs/backup.md`.

use std::path::{Path, PathBuf};

use runtime::database::open_sqlite;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

/// A copy of one database as it was at one moment.
pub struct Backup {
    database: String,
    copy: PathBuf,
}

impl Backup {
    /// Copies the database at this address, which may be in use, to `copy`.
    pub async fn take(database: &str, copy: PathBuf) -> Self {
        match file_of(database) {
            Some(file) => {
                let open = open_sqlite(file).await.expect("the database opens");
                sqlx::query("VACUUM INTO ?1")
                    .bind(copy.display().to_string())
                    .execute(&open.writer)
                    .await
                    .expect("SQLite copies the database");
            }
            None => {
                run("pg_dump", &["--format=custom", "--file", &copy.display().to_string(), database]).await;
            }
        }
        Self { database: database.to_owned(), copy }
    }

    /// Puts the copy in the place of the database, which no process has open.
    pub async fn restore(&self) {
        if let Some(file) = file_of(&self.database) {
            for suffix in ["-wal", "-shm"] {
                // Of a process that ended in order there are none.
                let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
            }
            std::fs::copy(&self.copy, file).expect("the file can be written");
            return;
        }
        self.empty().await;
        let copy = self.copy.display().to_string();
        let into = format!("--dbname={}", self.database);
        run("pg_restore", &["--exit-on-error", "--single-transaction", &into, &copy]).await;
    }

    /// Makes the database anew, as `dropdb` and `createdb` do.
    async fn empty(&self) {
        let (server, name) = self.database.rsplit_once('/').expect("an address ends with the database");
        let name = name.split('?').next().expect("a name");
        let mut server =
            PgConnection::connect(&format!("{server}/postgres")).await.expect("Postgres answers");
        for statement in
            [format!("DROP DATABASE \"{name}\" WITH (FORCE)"), format!("CREATE DATABASE \"{name}\"")]
        {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await.expect("Postgres does it");
        }
    }
}

fn file_of(database: &str) -> Option<&Path> {
    database.strip_prefix("sqlite://").map(Path::new)
}

/// Runs a client program of Postgres, from the newest installed version or `PATH`.
async fn run(program: &str, arguments: &[&str]) {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(program))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    let path = found.pop().unwrap_or_else(|| program.into());
    let ran = Command::new(&path).args(arguments).output().await;
    let output = ran.unwrap_or_else(|error| panic!("{} does not run: {error}", path.display()));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
