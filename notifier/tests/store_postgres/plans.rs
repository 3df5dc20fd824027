//! How much of a long log is read to show a page of it.

use notifier::domain::notification::StateName;
use notifier::domain::{EventPattern, FailureClass, States, SubscriptionCounts, SubscriptionId};
use notifier::store::{CountsFilter, NotificationFilter};
use runtime::database::PgPool;
use runtime::http::Page;
use runtime::testing::counters::rows_read;

use super::counted_world;
use super::store::World;

/// Of these the oldest few are what is looked for.
const EVENTS: i32 = 100_000;
/// A page, its events and subscriptions, and what leads to them.
const MAX_READ: i64 = 2_000;

/// A day of events. The oldest 20 are a small merchant's and of the family `recharge.*`, all others the
/// big one's. Every second waits after a failure to connect; of the oldest of the others three are
/// exhausted, two cancelled, all others delivered. Two that wait have failed otherwise.
async fn fill(world: &World, pool: &PgPool, small: SubscriptionId, big: SubscriptionId) {
    for statement in [
        "INSERT INTO events (key, id, source, type, time, body, received_at)
         SELECT (left(millis, 8) || '-' || right(millis, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
             n::text, '/shop', CASE WHEN n > 20 THEN 'order.paid' WHEN n > 10 THEN 'recharge.failed'
             ELSE 'recharge.succeeded' END, time, '{}', time
         FROM (SELECT n, $3 - ($4 - n) * interval '800 ms' AS time FROM generate_series(1, $4) n) e,
             LATERAL (SELECT lpad(to_hex((extract(epoch FROM time) * 1000)::bigint), 12, '0') AS millis) m
         WHERE $1::uuid <> $2::uuid",
        "INSERT INTO waiting (id, event_key, subscription_id, attempts, due_at, failure_class, created_at,
             updated_at)
         SELECT key, key, CASE WHEN id::int > 20 THEN $2 ELSE $1 END, 1, $3,
             CASE id::int WHEN 30 THEN 'tls' WHEN 32 THEN 'dns' ELSE 'connect' END, received_at, $3
         FROM events WHERE id::int % 2 = 0 AND id::int <= $4",
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
             updated_at)
         SELECT key, key, CASE WHEN id::int > 20 THEN $2 ELSE $1 END,
             CASE WHEN id::int > 9 THEN 'delivered' WHEN id::int > 5 THEN 'cancelled' ELSE 'exhausted' END, 1,
             CASE WHEN id::int > 9 THEN NULL ELSE 'dns' END, received_at, $3
         FROM events WHERE id::int % 2 = 1 AND id::int <= $4",
    ] {
        let filling = sqlx::query(statement).bind(small.0).bind(big.0).bind(world.now()).bind(EVENTS);
        filling.execute(pool).await.expect("rows");
    }
    sqlx::query("VACUUM ANALYZE").execute(pool).await.expect("statistics");
}

fn filters(small: SubscriptionId) -> Vec<(NotificationFilter, usize)> {
    let pattern = |text: &str| -> Option<EventPattern> { Some(text.parse().expect(text)) };
    let all = NotificationFilter::default;
    let (dns, tls) = (FailureClass::Dns, FailureClass::Tls);
    let owner = Some("small".to_owned());
    let given_up = States::of(&[StateName::Exhausted, StateName::Cancelled]);
    let delivered = States::of(&[StateName::Delivered]);
    vec![
        (all(), 50),
        (NotificationFilter { states: States::UNDELIVERED, ..all() }, 50),
        (NotificationFilter { states: given_up, ..all() }, 5),
        (NotificationFilter { states: delivered, ..all() }, 50),
        (NotificationFilter { states: States::of(&[StateName::Held, StateName::Exhausted]), ..all() }, 3),
        (NotificationFilter { failure_classes: vec![dns], ..all() }, 6),
        (NotificationFilter { failure_classes: vec![dns, tls], ..all() }, 7),
        (NotificationFilter { failure_classes: vec![dns], states: States::UNDELIVERED, ..all() }, 4),
        (NotificationFilter { failure_classes: vec![FailureClass::Connect], ..all() }, 50),
        (NotificationFilter { failure_classes: vec![FailureClass::Proxy], ..all() }, 0),
        (NotificationFilter { event_type: pattern("recharge.*"), ..all() }, 20),
        (NotificationFilter { event_type: pattern("recharge.failed"), ..all() }, 10),
        (NotificationFilter { event_type: pattern("order.*"), ..all() }, 50),
        (NotificationFilter { event_type: pattern("nothing.*"), ..all() }, 0),
        (NotificationFilter { event_type: pattern("recharge.*"), states: given_up, ..all() }, 5),
        (NotificationFilter { owner: owner.clone(), ..all() }, 20),
        (NotificationFilter { owner: owner.clone(), states: States::UNDELIVERED, ..all() }, 13),
        (NotificationFilter { owner: owner.clone(), states: delivered, ..all() }, 5),
        (NotificationFilter { owner: owner.clone(), failure_classes: vec![dns], ..all() }, 5),
        (NotificationFilter { owner, event_type: pattern("recharge.*"), ..all() }, 20),
        (NotificationFilter { subscription: Some(small), states: given_up, ..all() }, 5),
        (NotificationFilter { owner: Some("nobody".into()), ..all() }, 0),
    ]
}

#[tokio::test]
async fn a_page_of_what_is_rare_in_a_long_log_reads_little_more_than_itself() {
    let (world, connections) = counted_world().await;
    let small = world.subscribe_to("small", Some("small"), &["*"]).await;
    let big = world.subscribe_to("big", Some("big"), &["*"]).await;
    fill(&world, &connections.planned, small, big).await;
    let page = Page { limit: 50, after: None };
    for (filter, wanted) in filters(small) {
        // More than the five after which Postgres may plan without knowing the values.
        for _ in 0..8 {
            let before = rows_read(&connections).await;
            let found = world.store.notifications(&filter, page, world.now()).await.expect("a store");
            let read = rows_read(&connections).await - before;
            assert_eq!(found.len().min(50), wanted, "{filter:?}");
            assert!(read < MAX_READ, "{read} read for {filter:?}");
        }
    }
}

/// Many subscriptions with one notification each, waiting or delivered, by which Postgres expects little
/// of every other one.
async fn strew(world: &World, pool: &PgPool) {
    for statement in [
        "INSERT INTO waiting (id, event_key, subscription_id, due_at, created_at, updated_at)
         SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), $1, $1, $1 FROM generate_series(1, $2)",
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, created_at, updated_at)
         SELECT overlay(key::text PLACING '9' FROM 20)::uuid, key, gen_random_uuid(), 'delivered', 1, $1, $1
         FROM events WHERE id::int <= $2",
    ] {
        let strewing = sqlx::query(statement).bind(world.now()).bind(EVENTS / 2);
        strewing.execute(pool).await.expect("rows");
    }
    sqlx::query("VACUUM ANALYZE").execute(pool).await.expect("statistics");
}

#[tokio::test]
async fn counting_a_long_log_reads_no_further_than_the_cap() {
    let (world, connections) = counted_world().await;
    let small = world.subscribe_to("small", Some("small"), &["*"]).await;
    let big = world.subscribe_to("big", Some("big"), &["*"]).await;
    fill(&world, &connections.planned, small, big).await;
    strew(&world, &connections.planned).await;
    let (page, filter) = (Page { limit: 50, after: None }, CountsFilter::default());
    let before = rows_read(&connections).await;
    let found = world.store.counts(&filter, page, 100, world.now()).await.expect("a store");
    let read = rows_read(&connections).await - before;
    assert!(read < MAX_READ, "{read} read");
    let counted = |of: &SubscriptionCounts| {
        [StateName::Pending, StateName::Exhausted, StateName::Cancelled, StateName::Delivered]
            .map(|state| of.counts.of(state).counted)
    };
    assert_eq!(found.iter().map(counted).collect::<Vec<_>>(), [[100, 0, 0, 100], [10, 3, 2, 5]]);
}
