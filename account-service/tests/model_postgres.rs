//! Random orders of events against the model, on Postgres.

mod model;

use std::sync::Arc;

use account_service::store::{PostgresStore, Store};
use runtime::testing::property::cases;
use tokio::runtime::Builder;

const CASES: u32 = 199;

/// Cases share a database, so what was credited must not stay.
const LET_GO: &str = "DROP TRIGGER credits_stay ON credits";
const EMPTY: &str = "DELETE FROM reconciliation_differences; DELETE FROM reconciliations; DELETE FROM credits; DELETE FROM requests; DELETE FROM accounts;
                     DELETE FROM exceptions; DELETE FROM requeues";

#[test]
fn no_order_of_events_loses_money_or_makes_any() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = runtime.block_on(runtime::testing::temporary_postgres());
    let store = runtime.block_on(PostgresStore::migrated(pool.clone())).expect("a schema");
    let store: Arc<dyn Store> = Arc::new(store);
    let execute = async |script| {
        sqlx::raw_sql(script).execute(&pool).await.expect("it runs");
    };
    runtime.block_on(execute(LET_GO));
    let empty = async || execute(EMPTY).await;
    model::run(&runtime, &store, &empty, cases(CASES), 7);
}
