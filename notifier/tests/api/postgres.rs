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

/// Whether the metrics tell of the end of a day: it is dropped whole.
pub fn day_was_removed(metrics: &str) -> bool {
    let dropped =
        metrics.lines().find_map(|line| line.strip_prefix("ringback_retention_days_dropped_total "));
    dropped.is_some_and(|days| days != "0")
}
