//! The store's suite on `SQLite`.

mod store;

use std::sync::Arc;

use notifier::store::sqlite::SqliteStore;
use store::World;

async fn world() -> World {
    let (database, folder) = runtime::testing::temporary_sqlite().await;
    let store = SqliteStore::migrate(database).await.expect("the schema is made");
    World::new(Arc::new(store), Some(folder))
}

store::suite!(world);
