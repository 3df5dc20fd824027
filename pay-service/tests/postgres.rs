//! Every test of the service on Postgres.

#[path = "backend/postgres.rs"]
mod backend;
#[path = "backend/plans.rs"]
mod plans;
mod suite;
mod support;

use pay_service::store::{PostgresStore, Store};
use runtime::testing::proxy::Proxy;
use runtime::testing::sessions::until_no_transaction_is_open;
use runtime::testing::{manual_sources, temporary_postgres_url};
use sqlx::postgres::PgPoolOptions;
use support::{order, taken};

/// Every call after the stall runs on what is left of the one connection.
#[tokio::test]
async fn orders_that_are_answered_after_a_batch_was_given_up_in_a_stall_are_kept_with_their_events() {
    let url = temporary_postgres_url().await;
    let (proxy, through) = Proxy::before_url(&url).await;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&through).expect("a URL of Postgres");
    let store = PostgresStore::migrate(pool).await.expect("migrated");
    let (sources, _) = manual_sources(1);
    let now = sources.clock.now();
    let batch = |order_no: &str| [taken(&sources, order(order_no, "instant"))];
    for stalled in ["BEGIN", "statement", "COMMIT"] {
        let given_up = batch(&stalled.to_lowercase());
        proxy.give_up_at(stalled, store.create(&given_up, None, now)).await;
        store.create(&batch(&format!("after-{}", stalled.len())), None, now).await.expect("answered");
        store.create(&given_up, None, now).await.expect("answered when it is asked again");
    }
    let past = sqlx::PgPool::connect(&url).await.expect("the server answers");
    until_no_transaction_is_open(&past).await;
    for table in ["recharges", "outbox"] {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&past).await.expect("a count");
        assert_eq!(count, 6, "{table}");
    }
}
