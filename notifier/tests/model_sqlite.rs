//! Random orders of events against the model, on `SQLite`: in memory, since what a crash does is not
//! looked at here.

mod model;

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::sqlite::SqliteStore;
use runtime::database::Sqlite;
use runtime::testing::memory_sqlite;
use runtime::testing::property::{cases, in_parallel};
use sqlx::AssertSqlSafe;
use tokio::runtime::Builder;

const CASES: u32 = 10_000;
const WORKERS: u8 = 2;

/// What empties every table, and says that subscriptions have changed.
async fn emptying(database: &Sqlite) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         AND name NOT IN ('_sqlx_migrations', 'subscriptions_version', 'retention')",
    )
    .fetch_all(&database.writer)
    .await
    .expect("tables");
    let deletes: Vec<String> = tables.iter().map(|table| format!("DELETE FROM {table}")).collect();
    let deletes = deletes.join(";");
    let changed = "UPDATE subscriptions_version SET version = version + 1";
    format!("BEGIN; PRAGMA defer_foreign_keys = ON; {deletes}; {changed}; COMMIT")
}

fn work(worker: u8) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(memory_sqlite());
    let store = runtime.block_on(SqliteStore::migrate(database.clone())).expect("a schema");
    let store: Arc<dyn Store> = Arc::new(store);
    let script = runtime.block_on(emptying(&database));
    let empty = async || {
        let script = sqlx::raw_sql(AssertSqlSafe(script.clone()));
        script.execute(&database.writer).await.expect("empty tables");
    };
    model::run(&runtime, &store, &empty, cases(CASES / u32::from(WORKERS)), worker);
}

#[test]
fn no_order_of_events_breaks_a_law() {
    in_parallel(WORKERS, work);
}
