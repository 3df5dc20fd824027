//! Days as partitions.

use std::sync::Arc;
use std::time::Duration;

use notifier::domain::{Day, NotificationId, Outcome, Retention};
use notifier::store::{Removed, Store};
use runtime::database::{PgPool, Postgres};
use sqlx::AssertSqlSafe;
use tokio::task::JoinHandle;

use super::locks::until_waiting;
use super::store::World;
use super::{bare_world_on, on, world_on};

const DAY: Duration = Duration::from_hours(24);

/// How many events, notifications and attempts lie in the partitions with this ending.
async fn rows(pool: &PgPool, of: impl std::fmt::Display) -> [i64; 3] {
    let count = format!(
        "SELECT ARRAY[(SELECT count(*) FROM events_{of}), (SELECT count(*) FROM notifications_{of}),
             (SELECT count(*) FROM attempts_{of})]"
    );
    let counts: Vec<i64> =
        sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(pool).await.expect("the partitions are there");
    counts.try_into().expect("three")
}

async fn delivered(world: &World) -> NotificationId {
    let subscription = world.subscribe("orders", None).await;
    let id = world.notify(subscription).await;
    world.record(&world.claim_one(subscription).await, Outcome::Delivered).await;
    id
}

async fn remove(world: &World) -> Removed {
    world.store.remove(Retention::default().end(world.now()), 100).await.expect("a store")
}

#[tokio::test]
async fn what_came_in_before_its_day_was_made_is_moved_into_it_and_still_known() {
    let (world, pool) = bare_world_on(5).await;
    let id = delivered(&world).await;
    let event = world.show(id).await.event;
    let today = Day::of(world.now());
    assert_eq!(rows(&pool, "default").await, [1, 1, 1]);
    assert_eq!(world.store.prepare(&[today, today.plus(1)]).await.expect("a store"), 2);
    assert_eq!((rows(&pool, "default").await, rows(&pool, today).await), ([0, 0, 0], [1, 1, 1]));
    assert_eq!(world.ingest(&[event]).await.events, 0);
    assert_eq!(world.show(id).await.attempts.len(), 1);
    assert_eq!(world.store.prepare(&[today, today.plus(1)]).await.expect("a store"), 0);
}

#[tokio::test]
async fn each_day_has_partitions_of_its_own_up_to_its_last_millisecond() {
    let (world, pool) = world_on(5).await;
    let subscription = world.subscribe("orders", None).await;
    let today = Day::of(world.now());
    world.clock.advance(DAY.saturating_sub(Duration::from_millis(1)));
    world.notify(subscription).await;
    world.clock.advance(Duration::from_millis(1));
    world.notify(subscription).await;
    for delivery in world.claim(subscription, 2).await {
        world.record(&delivery, Outcome::Delivered).await;
    }
    assert_eq!((rows(&pool, today).await, rows(&pool, today.plus(1)).await), ([1, 1, 1], [1, 1, 1]));
}

/// Four processes do `work`; what they did together.
async fn at_once(world: &World, work: impl Fn(Arc<dyn Store>) -> JoinHandle<u64>) -> u64 {
    let tasks: Vec<_> = (0..4).map(|_| work(world.store.clone())).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("no panic");
    }
    sum
}

#[tokio::test]
async fn several_processes_make_and_drop_each_day_once() {
    let (world, pool) = bare_world_on(20).await;
    delivered(&world).await;
    let days: Vec<Day> = (-1..=3).map(|days| Day::of(world.now()).plus(days)).collect();
    let prepare = |store: Arc<dyn Store>| {
        let days = days.clone();
        tokio::spawn(async move { store.prepare(&days).await.expect("a store") })
    };
    assert_eq!(at_once(&world, prepare).await, 5);
    world.clock.advance(DAY * 200);
    let before = Retention::default().end(world.now());
    let remove = |store: Arc<dyn Store>| {
        // One that finds a table in use gives up, and its worker tries again.
        tokio::spawn(async move {
            for _ in 0..100 {
                if let Ok(removed) = store.remove(before, 100).await {
                    return removed.days;
                }
            }
            panic!("a table is in use for ever")
        })
    };
    at_once(&world, remove).await;
    let left = "SELECT count(*) FROM pg_class WHERE relname ~ '^(events|notifications|attempts)_[0-9]+'";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&pool).await.expect("a count"), 0);
}

#[tokio::test]
async fn when_no_day_can_be_made_events_are_taken_in_all_the_same() {
    let (world, pool) = bare_world_on(10).await;
    let mut reading = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT count(*) FROM events_default").execute(&mut *reading).await.expect("a long look");
    let days = [Day::of(world.now())];
    world.store.prepare(&days).await.expect_err("it does not wait for ever");
    delivered(&world).await;
    assert_eq!(rows(&pool, "default").await, [1, 1, 1]);
    reading.rollback().await.expect("it ends");
    assert_eq!(world.store.prepare(&days).await.expect("a store"), 1);
    assert_eq!(rows(&pool, days[0]).await, [1, 1, 1]);
}

#[tokio::test]
async fn a_day_that_can_t_be_made_since_its_table_is_in_use_costs_no_connection() {
    let url = runtime::testing::temporary_postgres_url().await;
    let (world, Postgres { planned, .. }) = on(&url, 1).await;
    let backend = async || {
        let pid: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&planned).await.expect("a number");
        pid
    };
    let before = backend().await;
    let other = sqlx::PgPool::connect(&url).await.expect("the server answers");
    let mut reading = other.begin().await.expect("a transaction");
    sqlx::query("SELECT count(*) FROM events_default").execute(&mut *reading).await.expect("a long look");
    world.store.prepare(&[Day::of(world.now())]).await.expect_err("it does not wait for ever");
    assert_eq!((backend().await, planned.given_up()), (before, 0));
}

#[tokio::test]
async fn a_notification_that_is_being_resent_keeps_its_day() {
    let (world, pool) = world_on(10).await;
    let id = delivered(&world).await;
    world.clock.advance(DAY * 200);
    let mut resending = pool.begin().await.expect("a transaction");
    let back = "WITH back AS (DELETE FROM notifications WHERE id = $1 RETURNING *)
        INSERT INTO waiting (id, event_key, subscription_id, attempts, due_at, created_at, updated_at)
        SELECT id, event_key, subscription_id, attempts, $2, created_at, $2 FROM back";
    sqlx::query(back).bind(id.0).bind(world.now()).execute(&mut *resending).await.expect("resent");
    let (store, before) = (world.store.clone(), Retention::default().end(world.now()));
    let removing = tokio::spawn(async move { store.remove(before, 100).await });
    until_waiting(&pool, 1).await;
    resending.commit().await.expect("resent");
    // It has waited to the end, or given up and will be called again.
    let _ = removing.await.expect("no panic");
    assert_eq!((remove(&world).await.kept_days, world.show(id).await.attempts.len()), (1, 1));
}

#[tokio::test]
async fn audits_of_a_dropped_day_go_in_batches() {
    let (world, pool) = world_on(5).await;
    let id = delivered(&world).await;
    for _ in 0..3 {
        world.resend(id).await.expect("allowed");
    }
    world.cancel(id).await.expect("allowed");
    world.clock.advance(DAY * 200);
    let before = Retention::default().end(world.now());
    for audits in [2, 2, 0] {
        assert_eq!(world.store.remove(before, 2).await.expect("a store").audits, audits);
    }
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audits").fetch_one(&pool).await.expect("a count");
    assert_eq!(left, 0);
}
