//! The API's database: a `SQLite` file of each test's own.

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::sqlite::SqliteStore;

/// What must live as long as the store.
pub type Guard = tempfile::TempDir;

pub async fn store() -> (Arc<dyn Store>, Guard) {
    let (database, folder) = runtime::testing::temporary_sqlite().await;
    (Arc::new(SqliteStore::migrate(database).await.expect("a schema")), folder)
}

/// Whether the metrics tell of the end of a day with one event and one notification: its rows are
/// removed one by one.
pub fn day_was_removed(metrics: &str) -> bool {
    ["event", "notification"].iter().all(|kind| {
        let removed = format!("ringback_retention_rows_removed_total{{kind=\"{kind}\"}} 1");
        metrics.lines().any(|line| line == removed)
    })
}
