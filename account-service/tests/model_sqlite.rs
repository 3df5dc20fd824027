//! Random orders of events against the model, on `SQLite`: in memory, since a process that dies does so
//! between two calls, and what a crash of the database does is not looked at here.

mod model;

use std::sync::Arc;

use account_service::store::{SqliteStore, Store};
use runtime::testing::memory_sqlite;
use runtime::testing::property::{cases, in_parallel};
use tokio::runtime::Builder;

const CASES: u32 = 10_000;
/// More than two, since each waits for its database's thread half of the time.
const WORKERS: u8 = 4;

/// Cases share a database, so what was credited must not stay. All of it goes by one statement.
const LET_GO: &str = "
    DROP TRIGGER credits_stay_there;
    CREATE TABLE emptied (times INTEGER);
    INSERT INTO emptied VALUES (0);
    CREATE TRIGGER empties AFTER UPDATE ON emptied BEGIN
        DELETE FROM reconciliation_differences;
        DELETE FROM reconciliations;
        DELETE FROM credits;
        DELETE FROM requests;
        DELETE FROM accounts;
        DELETE FROM exceptions;
        DELETE FROM requeues;
    END";
const EMPTY: &str = "UPDATE emptied SET times = times + 1";

fn work(worker: u8) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(memory_sqlite());
    let store = runtime.block_on(SqliteStore::migrated(database.clone())).expect("a schema");
    let store: Arc<dyn Store> = Arc::new(store);
    runtime.block_on(sqlx::raw_sql(LET_GO).execute(&database.writer)).expect("it lets go");
    let empty = async || {
        sqlx::query(EMPTY).execute(&database.writer).await.expect("empty tables");
    };
    model::run(&runtime, &store, &empty, cases(CASES / u32::from(WORKERS)), worker);
}

#[test]
fn no_order_of_events_loses_money_or_makes_any() {
    in_parallel(WORKERS, work);
}
