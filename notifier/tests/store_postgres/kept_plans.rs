//! The hot path keeps its plans, also those that were made before there was anything in the tables.

use std::time::Duration;

use notifier::domain::{FailureClass, Outcome, SubscriptionId};
use runtime::database::Postgres;

use super::store::World;
use super::{counted_world, pour, read};

/// Rows and entries of indexes that one round of eight may read: some ten for each of the eight.
const MAX_READ: i64 = 1_000;

/// Eight events in, eight notifications claimed, every second attempt a success, and a look at what is due next.
async fn round(world: &World, subscription: SubscriptionId) {
    let events: Vec<_> = (0..8).map(|n| world.event(&format!("tx-{n}"))).collect();
    assert_eq!(world.ingest(&events).await.notifications, 8);
    let claimed = world.claim(subscription, 8).await;
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

/// Whether Postgres knew that nothing was there or knew nothing: it expects less in the first case.
#[tokio::test]
async fn plans_made_while_nothing_was_there_are_as_good_when_much_is() {
    for statistics in ["SELECT 1", "ANALYZE"] {
        let (world, connections) = counted_world().await;
        sqlx::query(statistics).execute(&connections.planned).await.expect("statistics");
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
        let before = read(connections).await;
        round(world, subscription).await;
        let read = read(connections).await - before;
        assert!(read < MAX_READ, "{read} read");
    }
}
