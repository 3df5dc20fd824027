//! Random orders of events against the model, on Postgres.

mod model;

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::postgres::PostgresStore;
use runtime::testing::property::cases;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::runtime::Builder;

const CASES: u32 = 120;

/// What empties every table, and says that subscriptions have changed.
async fn emptying(pool: &PgPool) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
         AND relkind IN ('r', 'p') AND NOT relispartition
         AND relname NOT IN ('_sqlx_migrations', 'subscriptions_version', 'retention', 'subscriptions', 'feed')",
    )
    .fetch_all(pool)
    .await
    .expect("tables");
    let deletes: Vec<String> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
    let deletes = deletes.join(";");
    format!("{deletes}; DELETE FROM subscriptions; UPDATE subscriptions_version SET version = version + 1")
}

#[test]
fn no_order_of_events_breaks_a_law() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = runtime.block_on(runtime::testing::temporary_postgres());
    let store = runtime.block_on(PostgresStore::migrate(pool.clone())).expect("a schema");
    let store: Arc<dyn Store> = Arc::new(store);
    let script = runtime.block_on(emptying(&pool));
    let empty = async || {
        let script = sqlx::raw_sql(AssertSqlSafe(script.clone()));
        script.execute(&pool).await.expect("empty tables");
    };
    model::run(&runtime, &store, &empty, cases(CASES), 7);
}
