//! The engine on Postgres.

mod engine_store;
mod support;

use std::sync::Arc;

use notifier::store::Store;
use notifier::store::postgres::PostgresStore;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_work_without_sending_an_attempt_twice() {
    let url = runtime::testing::temporary_postgres_url().await;
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..2 {
        let pool = PgPool::connect(&url).await.expect("the fresh database opens");
        stores.push(Arc::new(PostgresStore::migrate(pool).await.expect("a schema")));
    }
    engine_store::two_processes_share_the_work([stores.remove(0), stores.remove(0)]).await;
}

#[tokio::test]
async fn no_connection_is_held_while_receivers_are_waited_for() {
    let url = runtime::testing::temporary_postgres_url().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.expect("it opens");
    let store = PostgresStore::migrate(pool).await.expect("a schema");
    engine_store::no_connection_is_held_while_receivers_are_waited_for(Arc::new(store)).await;
}

#[tokio::test]
async fn fresh_results_pass_a_backlog_of_retries_by_turns() {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("a schema");
    engine_store::fresh_results_pass_a_backlog_of_retries_by_turns(Arc::new(store)).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_probed_and_what_waits_keeps_its_ladder() {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("a schema");
    engine_store::a_receiver_that_is_gone_is_probed_and_what_waits_keeps_its_ladder(Arc::new(store)).await;
}

#[tokio::test]
async fn what_was_held_goes_out_oldest_first_at_the_pace_of_its_subscription() {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("a schema");
    engine_store::what_was_held_goes_out_oldest_first_at_the_pace_of_its_subscription(Arc::new(store)).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_nothing() {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("a schema");
    engine_store::a_clock_that_is_set_back_stops_nothing(Arc::new(store)).await;
}

#[tokio::test]
async fn while_the_clock_is_in_doubt_nothing_is_given_up() {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("a schema");
    engine_store::while_the_clock_is_in_doubt_nothing_is_given_up(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_for_a_pause_is_left_alone_by_every_process() {
    let url = runtime::testing::temporary_postgres_url().await;
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..2 {
        let pool = PgPool::connect(&url).await.expect("the fresh database opens");
        stores.push(Arc::new(PostgresStore::migrate(pool).await.expect("a schema")));
    }
    let stores = [stores.remove(0), stores.remove(0)];
    engine_store::a_receiver_that_asks_for_a_pause_is_left_alone_by_every_process(stores).await;
}

#[tokio::test]
async fn what_waits_in_memory_goes_back_unattempted_when_a_receiver_asks_for_a_pause() {
    let pool = runtime::testing::temporary_postgres().await;
    let store = Arc::new(PostgresStore::migrate(pool).await.expect("a schema"));
    engine_store::what_waits_in_memory_goes_back_unattempted_when_a_receiver_asks_for_a_pause(store).await;
}
