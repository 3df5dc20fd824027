//! The API's database: a fresh one for each test on the Postgres of `TEST_POSTGRES_URL`.

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::postgres::PostgresStore;

/// What must live as long as the store.
pub type Guard = ();

pub async fn store() -> (Arc<dyn Store>, Guard) {
    let pool = runtime::testing::temporary_postgres().await;
    (Arc::new(PostgresStore::migrate(pool).await.expect("a schema")), ())
}
