//! The store's suite on Postgres.

mod store;

use std::sync::Arc;

use notifier::store::postgres::PostgresStore;
use store::World;

async fn world() -> World {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("the schema is made");
    World::new(Arc::new(store), None)
}

store::suite!(world);
