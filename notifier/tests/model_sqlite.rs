//! Random orders of events against the model, on `SQLite`.

mod model;

use std::sync::Arc;
use std::thread;

use notifier::store::Store;
use notifier::store::sqlite::SqliteStore;
use runtime::database::Sqlite;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::runtime::Builder;

const CASES: u32 = 10_000;
const WORKERS: u8 = 2;

/// A database in memory, on a single connection: what a crash does is not looked at here.
async fn quick_sqlite() -> Sqlite {
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let writer = pool.test_before_acquire(false).connect_with(options).await.expect("a database");
    Sqlite { reader: writer.clone(), writer }
}

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
    let database = runtime.block_on(quick_sqlite());
    let store = runtime.block_on(SqliteStore::migrate(database.clone())).expect("a schema");
    let store: Arc<dyn Store> = Arc::new(store);
    let cases = model::cases(CASES / u32::from(WORKERS));
    let script = runtime.block_on(emptying(&database));
    let empty = async || {
        let script = sqlx::raw_sql(AssertSqlSafe(script.clone()));
        script.execute(&database.writer).await.expect("empty tables");
    };
    model::run(&runtime, &store, &empty, cases, worker);
}

#[test]
fn no_order_of_events_breaks_a_law() {
    thread::scope(|scope| {
        let workers: Vec<_> = (1..=WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
