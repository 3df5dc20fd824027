//! The API's database: a `SQLite` file of each test's own.

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::sqlite::SqliteStore;
use runtime::database::Sqlite;

/// The store's database, and its folder, which must live as long.
pub struct Guard(Sqlite, #[expect(dead_code, reason = "it is held")] tempfile::TempDir);

pub async fn store() -> (Arc<dyn Store>, Guard) {
    let (database, folder) = runtime::testing::temporary_sqlite().await;
    let store = SqliteStore::migrate(database.clone()).await.expect("a schema");
    (Arc::new(store), Guard(database, folder))
}

/// Makes it fail to note the time.
pub async fn break_clock(Guard(database, _): &Guard) {
    let trigger = "CREATE TRIGGER broken BEFORE UPDATE ON clock BEGIN SELECT RAISE(ABORT, 'broken'); END";
    sqlx::query(trigger).execute(&database.writer).await.expect("a trigger");
}

/// Whether the metrics tell of the end of a day with one event and one notification: its rows are
/// removed one by one.
pub fn day_was_removed(metrics: &str) -> bool {
    ["event", "notification"].iter().all(|kind| {
        let removed = format!("ringback_retention_rows_removed_total{{kind=\"{kind}\"}} 1");
        metrics.lines().any(|line| line == removed)
    })
}
