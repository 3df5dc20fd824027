//! What a stall of Postgres leaves, once a call was given up in it.

use notifier::domain::NewEvent;
use runtime::testing::proxy::Proxy;
use runtime::testing::sessions::until_no_transaction_is_open;

use super::{copy, on};

/// Every call after the stall runs on what is left of the one connection of each kind.
#[tokio::test]
async fn events_that_are_ingested_after_a_call_was_given_up_in_a_stall_are_kept() {
    let url = copy().await;
    let (proxy, through) = Proxy::before_url(&url).await;
    let (world, _) = on(&through, 1).await;
    let subscription = world.subscribe("orders", None).await;
    let mut ingested = 0;
    for stalled in ["BEGIN", "HTTP 500", "COMMIT"] {
        world.notify(subscription).await;
        let delivery = world.claim_one(subscription).await;
        proxy.give_up_at(stalled, world.fail(&delivery)).await;
        world.notify(subscription).await;
        world.fail(&world.claim_one(subscription).await).await;
        ingested += 2;
    }
    let event: NewEvent = world.event("given-up");
    proxy.give_up_at("given-up", world.ingest(std::slice::from_ref(&event))).await;
    world.notify(subscription).await;
    world.ingest(&[event]).await;
    ingested += 2;
    let past = sqlx::PgPool::connect(&url).await.expect("the server answers");
    until_no_transaction_is_open(&past).await;
    for (table, key) in [("events", "key"), ("waiting", "event_key")] {
        let count = sqlx::AssertSqlSafe(format!("SELECT count(DISTINCT {key}), count(*) FROM {table}"));
        let (distinct, all): (i64, i64) = sqlx::query_as(count).fetch_one(&past).await.expect("counts");
        assert_eq!((distinct, all), (ingested, ingested), "{table}");
    }
}
