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
