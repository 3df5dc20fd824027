//! The hot path keeps its plans, also those that were made before there was anything in the tables.

use std::time::Duration;

use notifier::domain::{FailureClass, Outcome, SubscriptionId};
use runtime::database::Postgres;
use runtime::testing::counters::{index_pages, rows_read};

use super::store::World;
use super::{counted_world, pour};

/// Rows and entries of indexes that one round of eight may read: some ten for each of the eight.
const MAX_READ: i64 = 1_000;

/// Pages of indexes that it may touch.
const MAX_PAGES: i64 = 1_500;

/// Eight events in, eight notifications claimed, given back and claimed again, successes by themselves and
/// beside failures, and a look at what is due next.
async fn round(world: &World, subscription: SubscriptionId) {
    let events: Vec<_> = (0..8).map(|n| world.event(&format!("tx-{n}"))).collect();
    assert_eq!(world.ingest(&events).await.notifications, 8);
    for delivery in world.claim(subscription, 8).await {
        world.give_back(&delivery).await;
    }
    let claimed = world.claim(subscription, 8).await;
    let (plain, claimed) = claimed.split_at(4);
    let plain: Vec<_> = plain.iter().map(|one| world.result(one, Outcome::Delivered)).collect();
    world.record_all(&plain).await;
    let outcomes = [Outcome::Delivered, Outcome::Failed(FailureClass::Status)].into_iter().cycle();
    let results: Vec<_> =
        claimed.iter().zip(outcomes).map(|(one, outcome)| world.result(one, outcome)).collect();
    world.record_all(&results).await;
    world.store.next_due(&[subscription]).await.expect("a store");
    world.clock.advance(Duration::from_secs(1));
}

/// Many endpoints that do not do well.
const AIL: &str = "INSERT INTO subscription_health (subscription_id, failing_since, failed_at, unreached)
                   SELECT gen_random_uuid(), now(), now(), 1 FROM generate_series(1, 20000)";

/// What waited and is gone.
const GONE: &str = "INSERT INTO waiting (id, event_key, subscription_id, due_at, created_at, updated_at)
                    SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), now(), now()
                    FROM generate_series(1, 2000)";

/// Whether Postgres knew nothing, or that nothing was there, or that nothing is left on the pages that are
/// there: it expects less each time.
#[tokio::test]
async fn plans_made_while_nothing_was_there_are_as_good_when_much_is() {
    let emptied = [GONE, "DELETE FROM waiting", "VACUUM (TRUNCATE false, ANALYZE) waiting"];
    for statistics in [&[][..], &["ANALYZE"], &emptied] {
        let (world, connections) = counted_world().await;
        for statement in statistics {
            sqlx::query(*statement).execute(&connections.planned).await.expect("statistics");
        }
        hold(&world, &connections).await;
    }
}

async fn hold(world: &World, connections: &Postgres) {
    let subscription = world.subscribe("orders", None).await;
    round(world, subscription).await;
    for statement in ["DELETE FROM waiting", "DELETE FROM events", AIL] {
        sqlx::query(statement).execute(&connections.planned).await.expect("rows come and go, plans stay");
    }
    pour(world, &connections.planned, subscription).await;
    for _ in 0..3 {
        let before = (rows_read(connections).await, index_pages(connections).await);
        round(world, subscription).await;
        let (read, pages) =
            (rows_read(connections).await - before.0, index_pages(connections).await - before.1);
        assert!(read < MAX_READ, "{read} read");
        assert!(pages < MAX_PAGES, "{pages} pages of indexes");
    }
}
