//! The feed on Postgres: what is not committed yet, another cluster, and how much a page reads.

use chrono::{DateTime, Utc};
use notifier::domain::feed::{FeedPosition, FeedQuery};
use notifier::store::FeedStore;
use notifier::store::postgres::PostgresStore;
use runtime::database::{PgPool, Postgres};
use runtime::testing::counters::{index_pages, rows_read};

use super::{counted_world, world_on};

const EVENTS: i32 = 100_000;

fn of(merchant: &str, after: FeedPosition) -> FeedQuery {
    FeedQuery { merchant: merchant.into(), types: Vec::new(), after, limit: 50 }
}

async fn ids(store: &dyn FeedStore, after: FeedPosition) -> (Vec<String>, FeedPosition) {
    let page = store.feed(&of("shop", after)).await.expect("a store");
    (page.events.iter().map(|one| one.event.id.clone()).collect(), page.next)
}

/// A transaction that began to keep an event before another one did, and commits after it.
#[tokio::test]
async fn an_event_that_is_committed_after_a_later_one_is_not_behind_the_cursor() {
    let (world, pool) = world_on(4).await;
    let insert = "INSERT INTO events (key, id, source, type, time, merchant, body, received_at)
        VALUES (gen_random_uuid(), 'slow', '/test', 'order.paid', $1, 'shop', '{}', $1)";
    let mut slow = pool.begin().await.expect("a transaction");
    sqlx::query(insert).bind(world.now()).execute(&mut *slow).await.expect("inserted");
    let fast = world.event_of("shop", "order.paid", "tx");
    world.ingest(std::slice::from_ref(&fast)).await;
    let (seen, cursor) = ids(&*world.store, FeedPosition::START).await;
    assert!(seen.is_empty(), "{seen:?}");
    slow.commit().await.expect("committed");
    let (seen, cursor) = ids(&*world.store, cursor).await;
    assert_eq!(seen, ["slow", &fast.id]);
    assert!(ids(&*world.store, cursor).await.0.is_empty());
}

#[tokio::test]
async fn a_transaction_that_keeps_no_events_holds_nothing_up() {
    let (world, pool) = world_on(4).await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("INSERT INTO bulk_turns VALUES ('shop', 1)").execute(&mut *other).await.expect("inserted");
    let event = world.event_of("shop", "order.paid", "tx");
    world.ingest(std::slice::from_ref(&event)).await;
    assert_eq!(ids(&*world.store, FeedPosition::START).await.0, [event.id]);
    other.rollback().await.expect("rolled back");
}

#[tokio::test]
async fn events_of_a_restored_database_come_before_those_of_its_new_cluster() {
    let (world, pool) = world_on(2).await;
    let (before, after) = (world.event_of("shop", "a", "tx"), world.event_of("shop", "b", "tx"));
    world.ingest(std::slice::from_ref(&before)).await;
    // As they are where transactions were numbered far ahead of this cluster's.
    sqlx::query("UPDATE events SET feed_position = feed_position + 1000000")
        .execute(&pool)
        .await
        .expect("moved");
    sqlx::query("UPDATE feed SET cluster = 'another'").execute(&pool).await.expect("another cluster");
    let connections = Postgres { planned: pool.clone(), steady: pool.clone() };
    let store = PostgresStore::migrate(connections.clone()).await.expect("opened");
    let (seen, cursor) = ids(&store, FeedPosition::START).await;
    assert_eq!(seen, std::slice::from_ref(&before.id));
    PostgresStore::migrate(connections).await.expect("opened again");
    world.ingest(std::slice::from_ref(&after)).await;
    assert_eq!(ids(&store, cursor).await.0, std::slice::from_ref(&after.id));
    assert_eq!(ids(&store, FeedPosition::START).await.0, [before.id, after.id]);
}

/// Every hundredth is a small merchant's, of which every tenth is of a rare type; four transactions an event number.
async fn fill(pool: &PgPool, now: DateTime<Utc>) {
    let fill = "INSERT INTO events (key, id, source, type, time, merchant, body, received_at, feed_position)
        SELECT (left(millis, 8) || '-' || right(millis, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
            n::text, '/test', CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'often' END, time,
            CASE WHEN n % 100 = 0 THEN 'small' ELSE 'big' END, '{\"data\":1}', time, n / 4
        FROM (SELECT n, $1 - ($2 - n) * interval '800 ms' AS time FROM generate_series(1, $2) n) e,
            LATERAL (SELECT lpad(to_hex((extract(epoch FROM time) * 1000)::bigint), 12, '0') AS millis) m";
    sqlx::query(fill).bind(now).bind(EVENTS).execute(pool).await.expect("rows");
    sqlx::query("UPDATE feed SET epoch = epoch + 1000000").execute(pool).await.expect("later");
}

#[tokio::test]
async fn a_page_of_the_feed_of_many_events_reads_little_more_than_itself() {
    let (world, connections) = counted_world().await;
    // Nothing is known of what lies in the table.
    sqlx::query("ANALYZE").execute(&connections.planned).await.expect("statistics");
    fill(&connections.planned, world.now()).await;
    let middle = FeedPosition { batch: 12_345, key: uuid::Uuid::nil() };
    for analyzed in [false, true] {
        if analyzed {
            sqlx::query("VACUUM ANALYZE").execute(&connections.planned).await.expect("statistics");
        }
        for (merchant, types, after, found, most) in [
            ("big", vec![], FeedPosition::START, 50, 3_000),
            ("big", vec![], middle, 50, 3_000),
            ("small", vec![], middle, 50, 3_000),
            ("small", vec!["rare"], FeedPosition::START, 50, 4_000),
            ("big", vec!["rare"], middle, 0, 12_000),
            ("nobody", vec![], FeedPosition::START, 0, 200),
        ] {
            let types = types.iter().map(|kind: &&str| kind.parse().expect("a type")).collect();
            let query = FeedQuery { types, ..of(merchant, after) };
            let (rows, pages) = (rows_read(&connections).await, index_pages(&connections).await);
            let page = world.store.feed(&query).await.expect("a store");
            let rows = rows_read(&connections).await - rows;
            let pages = index_pages(&connections).await - pages;
            assert_eq!(page.events.len(), found, "{query:?}");
            assert!(rows < most, "{rows} read for {query:?}");
            assert!(pages < most, "{pages} pages for {query:?}");
        }
    }
}
