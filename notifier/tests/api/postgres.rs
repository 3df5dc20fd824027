//! The API's database: a fresh one for each test on the Postgres of `TEST_POSTGRES_URL`.

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::postgres::PostgresStore;

/// The store's database.
pub type Guard = sqlx::PgPool;

pub async fn store() -> (Arc<dyn Store>, Guard) {
    let pool = runtime::testing::temporary_postgres().await;
    (Arc::new(PostgresStore::migrate(pool.clone()).await.expect("a schema")), pool)
}

/// Makes it fail to note the time.
pub async fn break_clock(pool: &Guard) {
    let trigger = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql
                       AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
                   CREATE TRIGGER broken BEFORE UPDATE ON clock FOR EACH ROW EXECUTE FUNCTION broken()";
    sqlx::raw_sql(trigger).execute(pool).await.expect("a trigger");
}

/// Whether the metrics tell of the end of a day: it is dropped whole.
pub fn day_was_removed(metrics: &str) -> bool {
    let dropped =
        metrics.lines().find_map(|line| line.strip_prefix("ringback_retention_days_dropped_total "));
    dropped.is_some_and(|days| days != "0")
}
