//! The store's suite on Postgres, which plans Postgres chooses for it, and who waits for whom.

mod days;
mod feed;
mod kept_plans;
mod key_holders;
mod locks;
mod plans;
mod stalls;
#[path = "../store/mod.rs"]
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use notifier::domain::notification::StateName;
use notifier::domain::{Day, Delivery, Outcome, States, SubscriptionId};
use notifier::store::postgres::PostgresStore;
use notifier::store::{NotificationFilter, Store, UpkeepStore};
use runtime::Clock;
use runtime::database::{PgPool, Postgres};
use runtime::testing::counters::flush;
use runtime::testing::{ManualClock, required_variable};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Open, Run, Shelf, World};
use tokio::sync::OnceCell;

const BACKLOG: i32 = 100_000;

/// The database that worlds are copies of: the schema, and the days about the clocks' beginning.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COPIES: AtomicUsize = AtomicUsize::new(0);

async fn template() -> String {
    let url = runtime::testing::temporary_postgres_url().await;
    let pool = sqlx::PgPool::connect(&url).await.expect("the fresh database opens");
    let store = PostgresStore::migrate(pool.clone()).await.expect("the schema is made");
    let today = Day::of(ManualClock::default().now());
    let days: Vec<Day> = (-1..=3).map(|days| today.plus(days)).collect();
    store.prepare(&days).await.expect("the days are made");
    pool.close().await;
    url
}

/// A world on `connections` connections of each kind.
async fn world_on(connections: u32) -> (World, PgPool) {
    let (world, Postgres { planned, .. }) = on(&copy().await, connections).await;
    (world, planned)
}

/// A world on one connection of each kind: counters of what was read are a connection's own.
async fn counted_world() -> (World, Postgres) {
    on(&copy().await, 1).await
}

async fn copy() -> String {
    let template = TEMPLATE.get_or_init(template).await;
    let (server, name) = template.rsplit_once('/').expect("the name of a database");
    let copy = format!("{name}_{}", COPIES.fetch_add(1, Ordering::Relaxed));
    let mut connection =
        PgConnection::connect(&required_variable("TEST_POSTGRES_URL")).await.expect("the server answers");
    let create = AssertSqlSafe(format!("CREATE DATABASE {copy} TEMPLATE {name}"));
    sqlx::query(create).execute(&mut connection).await.expect("nobody is in the template");
    format!("{server}/{copy}")
}

/// A world whose days have not been made.
async fn bare_world_on(connections: u32) -> (World, PgPool) {
    let url = runtime::testing::temporary_postgres_url().await;
    let (world, Postgres { planned, .. }) = on(&url, connections).await;
    (world, planned)
}

async fn on(url: &str, connections: u32) -> (World, Postgres) {
    let pool = PgPoolOptions::new().max_connections(connections).connect(url).await.expect("a server");
    let connections = Postgres::from(pool);
    let store = PostgresStore::migrate(connections.clone()).await.expect("the schema is made");
    (World::new(Arc::new(store), None), connections)
}

async fn world() -> World {
    world_on(10).await.0
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

/// Half of `subscription`'s notifications are due, every fourth of them for the first time; half are
/// delivered.
async fn fill(world: &World, pool: &PgPool, subscription: SubscriptionId) {
    pour(world, pool, subscription).await;
    sqlx::query("ANALYZE").execute(pool).await.expect("statistics");
}

/// The same, and Postgres is not told.
async fn pour(world: &World, pool: &PgPool, subscription: SubscriptionId) {
    for statement in [
        "INSERT INTO events (key, id, source, type, time, body, received_at)
         SELECT gen_random_uuid(), n::text, '/shop', 'order.paid', $2, '{}', $2 - n * interval '1 s'
         FROM generate_series(1, $3) n WHERE $1::uuid IS NOT NULL",
        "INSERT INTO waiting (id, event_key, subscription_id, again, due_at, created_at, updated_at)
         SELECT key, key, $1, id::int % 4 > 0, received_at, received_at, $2 FROM events WHERE id::int <= $3 / 2",
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, created_at, updated_at)
         SELECT key, key, $1, 'delivered', 1, received_at, $2 FROM events WHERE id::int > $3 / 2",
    ] {
        let filling = sqlx::query(statement).bind(subscription.0).bind(world.now()).bind(BACKLOG);
        filling.execute(pool).await.expect("rows");
    }
}

/// How often the long tables were read from end to end.
async fn scans(connections: &Postgres) -> i64 {
    flush(connections).await;
    let count = "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
                 WHERE relname IN ('waiting', 'notifications', 'events', 'attempts')";
    sqlx::query_scalar(count).fetch_one(&connections.planned).await.expect("a count")
}

#[tokio::test]
async fn claims_and_lists_of_a_long_backlog_read_no_table_from_end_to_end() {
    let (world, connections) = counted_world().await;
    let subscription = world.subscribe("orders", None).await;
    fill(&world, &connections.planned, subscription).await;
    let before = scans(&connections).await;
    // More than the five after which Postgres may plan without knowing the values.
    for _ in 0..8 {
        let claimed = world.claim(subscription, 8).await;
        assert_eq!(claimed.len(), 8);
        assert_eq!(scans(&connections).await, before, "claim");
        world.store.next_due(&[subscription]).await.expect("a store");
        assert_eq!(scans(&connections).await, before, "next_due");
        let results: Vec<_> = claimed.iter().map(|one| world.result(one, Outcome::Delivered)).collect();
        world.record_all(&results).await;
        assert_eq!(scans(&connections).await, before, "record");
    }
    // What is being delivered is looked for among what is due, which is half of everything here.
    let each = StateName::ALL.into_iter().filter(|state| *state != StateName::Delivering);
    let each = each.map(|state| States::of(&[state]));
    for states in each.chain([States::ALL, States::UNDELIVERED]) {
        world.list(NotificationFilter { states, ..NotificationFilter::default() }).await;
        assert_eq!(scans(&connections).await, before, "{states}");
    }
}

/// How many rows of `waiting` were fetched by an index, and how many were changed in a way that
/// changes an index.
async fn work(connections: &Postgres) -> (i64, i64) {
    flush(connections).await;
    let count =
        "SELECT idx_tup_fetch, n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'waiting'";
    sqlx::query_as(count).fetch_one(&connections.planned).await.expect("counts")
}

#[tokio::test]
async fn a_claim_reads_hardly_more_than_it_takes_and_changes_no_index() {
    let (world, connections) = counted_world().await;
    let subscription = world.subscribe("orders", None).await;
    fill(&world, &connections.planned, subscription).await;
    for statement in ["UPDATE waiting SET again = true", "VACUUM ANALYZE waiting"] {
        sqlx::query(statement).execute(&connections.planned).await.expect("all are retries");
    }
    let fresh: Vec<_> = (0..8).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&fresh).await;
    for (retries_first, first_attempts) in [(false, 4), (true, 3), (false, 1), (true, 0)] {
        let (read, changed) = work(&connections).await;
        let claimed = world.claim_by_halves(subscription, 7, retries_first).await;
        assert_eq!(claimed.len(), 7);
        let fresh = |one: &&Delivery| fresh.iter().any(|event| event.message() == one.message);
        assert_eq!(claimed.iter().filter(fresh).count(), first_attempts);
        let (read_since, changed_since) = work(&connections).await;
        assert!(read_since - read <= 100, "{} rows", read_since - read);
        assert_eq!(changed_since - changed, 0, "rows whose indexes were written");
    }
}

/// How often partitions of other days than `day` were looked into.
async fn looks_elsewhere(connections: &Postgres, day: Day) -> i64 {
    flush(connections).await;
    let count = "SELECT sum(seq_scan + coalesce(idx_scan, 0))::bigint FROM pg_stat_user_tables
                 WHERE relname ~ '^(events|notifications|attempts)_' AND relname !~ $1";
    sqlx::query_scalar(count).bind(format!("{day}$")).fetch_one(&connections.planned).await.expect("a count")
}

#[tokio::test]
async fn a_claim_a_result_and_a_look_at_one_notification_open_its_day_alone() {
    let (world, connections) = counted_world().await;
    let subscription = world.subscribe("orders", None).await;
    let today = Day::of(world.now());
    let id = world.notify(subscription).await;
    let before = looks_elsewhere(&connections, today).await;
    let delivery = world.claim_one(subscription).await;
    world.record(&delivery, Outcome::Delivered).await;
    assert_eq!(world.show(id).await.attempts.len(), 1);
    world.resend(id).await.expect("allowed");
    assert_eq!(looks_elsewhere(&connections, today).await, before);
}
