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

    /// Makes every insert into `table` fail from now on.
    pub async fn refuse_inserts(&self, table: &str) {
        let trigger = format!(
            "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&self.db.writer).await.expect("a trigger");
    }

    /// Ends `refuse_inserts`.
    pub async fn allow_inserts(&self, table: &str) {
        let trigger = format!("DROP TRIGGER refuse_{table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&self.db.writer).await.expect("a trigger less");
    }

    /// The database stops answering.
    pub async fn go_down(&self) {
        self.db.writer.close().await;
        self.db.reader.close().await;
    }
}
