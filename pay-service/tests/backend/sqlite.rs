//! A `SQLite` of the test's own.

use std::sync::Arc;

use pay_service::store::{SqliteStore, Store};
use runtime::database::Sqlite;
use runtime::testing::temporary_sqlite;
use tempfile::TempDir;

pub struct Backend {
    pub store: Arc<dyn Store>,
    db: Sqlite,
    _folder: TempDir,
}

impl Backend {
    pub async fn fresh() -> Self {
        let (db, folder) = temporary_sqlite().await;
        let store = Arc::new(SqliteStore::migrate(db.clone()).await.expect("migrated"));
        Self { store, db, _folder: folder }
    }

    /// Makes every transaction that inserts into `table` fail, when it commits.
    pub async fn refuse_inserts(&self, table: &str) {
        self.script(format!(
            "CREATE TABLE absent (id INTEGER PRIMARY KEY);
             CREATE TABLE refused (id INTEGER REFERENCES absent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER refuse AFTER INSERT ON {table} BEGIN INSERT INTO refused VALUES (1); END;"
        ))
        .await;
    }

    /// Ends `refuse_inserts`.
    pub async fn allow_inserts(&self) {
        self.script("DROP TRIGGER refuse; DROP TABLE refused; DROP TABLE absent;".into()).await;
    }

    async fn script(&self, script: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&self.db.writer).await.expect("a valid script");
    }

    /// The database stops answering.
    pub async fn go_down(&self) {
        self.db.writer.close().await;
        self.db.reader.close().await;
    }
}
