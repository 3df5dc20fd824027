//! The store's suite on Postgres, which plans Postgres chooses for it, and who waits for whom.

mod store;

use std::sync::Arc;
use std::time::Duration;

use notifier::domain::notification::StateName;
use notifier::domain::{SubscriptionId, SubscriptionState};
use notifier::store::postgres::PostgresStore;
use notifier::store::{NotificationFilter, Store};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use store::{Open, Run, Shelf, World};

const BACKLOG: i32 = 100_000;

async fn world() -> World {
    let pool = runtime::testing::temporary_postgres().await;
    let store = PostgresStore::migrate(pool).await.expect("the schema is made");
    World::new(Arc::new(store), None)
}

async fn shelf() -> Shelf {
    let pool = runtime::testing::temporary_postgres().await;
    let raw = pool.clone();
    let open: Open = Box::new(move |vault| {
        let pool = pool.clone();
        Box::pin(async move {
            let store = PostgresStore::migrate(pool).await.expect("the schema is made");
            Arc::new(store.with_vault(vault)) as Arc<dyn Store>
        })
    });
    let run: Run = Box::new(move |statement| {
        let raw = raw.clone();
        Box::pin(async move { sqlx::query_scalar(statement).fetch_all(&raw).await.expect("rows") })
    });
    Shelf::new(open, run, None)
}

store::suite!(world, shelf);

/// A world on `connections` connections.
async fn world_on(connections: u32) -> (World, PgPool) {
    let url = runtime::testing::temporary_postgres_url().await;
    let pool = PgPoolOptions::new().max_connections(connections).connect(&url).await.expect("a server");
    let store = PostgresStore::migrate(pool.clone()).await.expect("the schema is made");
    (World::new(Arc::new(store), None), pool)
}

/// Half of `subscription`'s notifications are due, half are delivered.
async fn fill(world: &World, pool: &PgPool, subscription: SubscriptionId) {
    for statement in [
        "INSERT INTO events (key, id, source, type, time, body, received_at)
         SELECT gen_random_uuid(), n::text, '/shop', 'order.paid', $2, '{}', $2 - n * interval '1 s'
         FROM generate_series(1, $3) n WHERE $1::uuid IS NOT NULL",
        "INSERT INTO waiting (id, event_key, subscription_id, due_at, created_at, updated_at)
         SELECT key, key, $1, received_at, received_at, $2 FROM events WHERE id::int <= $3 / 2",
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, created_at, updated_at)
         SELECT key, key, $1, 'delivered', 1, received_at, $2 FROM events WHERE id::int > $3 / 2",
    ] {
        let filling = sqlx::query(statement).bind(subscription.0).bind(world.now()).bind(BACKLOG);
        filling.execute(pool).await.expect("rows");
    }
    sqlx::query("ANALYZE").execute(pool).await.expect("statistics");
}

/// How often the long tables were read from end to end. Counted per connection, so `pool` must hold
/// the only one.
async fn scans(pool: &PgPool) -> i64 {
    let flush = "SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()";
    sqlx::query(flush).execute(pool).await.expect("counters");
    let count = "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
                 WHERE relname IN ('waiting', 'notifications', 'events', 'attempts')";
    sqlx::query_scalar(count).fetch_one(pool).await.expect("a count")
}

#[tokio::test]
async fn claims_and_lists_of_a_long_backlog_read_no_table_from_end_to_end() {
    let (world, pool) = world_on(1).await;
    let subscription = world.subscribe("orders", None).await;
    fill(&world, &pool, subscription).await;
    let before = scans(&pool).await;
    // More than the five after which Postgres may plan without knowing the values.
    for _ in 0..8 {
        assert_eq!(world.claim(subscription, 8).await.len(), 8);
    }
    assert_eq!(scans(&pool).await, before);
    for state in [None, Some(StateName::Delivered), Some(StateName::Pending), Some(StateName::Exhausted)] {
        world.list(NotificationFilter { state, ..NotificationFilter::default() }).await;
        assert_eq!(scans(&pool).await, before, "{state:?}");
    }
}

/// Waits until `count` statements wait for a lock.
async fn until_waiting(pool: &PgPool, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async {
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.expect("a count") < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("they wait");
}

#[tokio::test]
async fn a_change_of_a_subscription_is_not_passed_by_those_who_match_events() {
    let (world, pool) = world_on(10).await;
    let subscription = world.subscribe("orders", None).await;
    let world = Arc::new(world);
    let mut matching = pool.begin().await.expect("a transaction");
    let version = "SELECT version FROM subscriptions_version FOR SHARE";
    sqlx::query(version).execute(&mut *matching).await.expect("as ingest does");
    let changer = world.clone();
    let change =
        tokio::spawn(async move { changer.set_state(subscription, SubscriptionState::Paused).await });
    until_waiting(&pool, 1).await;
    let next = world.clone();
    let event = world.event("tx");
    let ingest = tokio::spawn(async move { next.ingest(&[event]).await });
    until_waiting(&pool, 2).await;
    matching.commit().await.expect("the first batch is kept");
    change.await.expect("changed");
    assert_eq!(ingest.await.expect("ingested").waiting, 0, "matched after the change, so it is held");
}
