//! The store's suite on `SQLite`.

mod store;

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::sqlite::SqliteStore;
use store::{Open, Run, Shelf, World};

async fn world() -> World {
    let (database, folder) = runtime::testing::temporary_sqlite().await;
    let store = SqliteStore::migrate(database).await.expect("the schema is made");
    World::new(Arc::new(store), Some(folder))
}

async fn shelf() -> Shelf {
    let (database, folder) = runtime::testing::temporary_sqlite().await;
    let writer = database.writer.clone();
    let open: Open = Box::new(move |vault| {
        let database = database.clone();
        Box::pin(async move {
            let store = SqliteStore::migrate(database).await.expect("the schema is made");
            Arc::new(store.with_vault(vault)) as Arc<dyn Store>
        })
    });
    let run: Run = Box::new(move |statement| {
        let writer = writer.clone();
        Box::pin(async move { sqlx::query_scalar(statement).fetch_all(&writer).await.expect("rows") })
    });
    Shelf::new(open, run, Some(folder))
}

store::suite!(world, shelf);
