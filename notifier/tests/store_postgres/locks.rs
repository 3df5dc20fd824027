//! Who waits for whom, and who doesn't.

use std::sync::Arc;
use std::time::Duration;

use notifier::domain::{
    BulkAction, BulkFilter, DisableAfter, FailureClass, NotificationId, Outcome, SubscriptionState,
};
use notifier::store::Recorded;
use runtime::database::{PgPool, PgTransaction};

use super::world_on;

/// Waits until `count` statements wait for a lock.
pub async fn until_waiting(pool: &PgPool, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async {
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.expect("a count") < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("they wait");
}

/// Not a measure of speed: what waits for a lock here waits for ever.
async fn without_waiting<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it waits for nobody")
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

/// Holds the row of a notification, as whoever claims, records, resends or cancels it does.
async fn hold(pool: &PgPool, statement: &'static str, id: NotificationId) -> PgTransaction {
    let mut holding = pool.begin().await.expect("a transaction");
    sqlx::query(statement).bind(id.0).fetch_one(&mut *holding).await.expect("it lies there");
    holding
}

/// Whoever takes many rows waits for none of them while holding others, so that no two of them can
/// wait for each other.
#[tokio::test]
async fn a_replay_a_deletion_and_a_claim_wait_for_no_row_that_another_holds() {
    let (world, pool) = world_on(10).await;
    let subscription = world.subscribe("orders", None).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(world.notify(subscription).await);
    }
    let done = world.claim(subscription, 2).await;
    for delivery in &done {
        world.record(delivery, Outcome::Delivered).await;
    }
    ids.retain(|id| done.iter().all(|delivery| delivery.notification != *id));
    let waiting = hold(&pool, "SELECT id FROM waiting WHERE id = $1 FOR UPDATE", ids[0]).await;
    let finished = "SELECT id FROM notifications WHERE id = $1 FOR UPDATE";
    let finished = hold(&pool, finished, done[0].notification).await;

    world.start_replay(subscription).await;
    assert_eq!(without_waiting(world.step(10)).await.changed, 2, "one of each table is another's");
    assert_eq!(without_waiting(world.claim(subscription, 10)).await.len(), 2);
    assert!(without_waiting(world.delete(subscription, None)).await);
    assert_eq!(without_waiting(world.store.move_cancelled(10)).await.expect("a store"), 2);
    waiting.rollback().await.expect("let go");
    finished.rollback().await.expect("let go");
    assert_eq!(world.store.move_cancelled(10).await.expect("a store"), 1);
}

#[tokio::test]
async fn results_of_two_processes_in_any_order_never_deadlock_with_replays_and_claims() {
    let (world, _pool) = world_on(10).await;
    let subscription = world.subscribe("orders", None).await;
    for outcome in [Outcome::Delivered, Outcome::Failed(FailureClass::Status)].into_iter().cycle().take(20) {
        let events: Vec<_> = (0..40).map(|n| world.event(&format!("tx-{n}"))).collect();
        world.ingest(&events).await;
        let held = world.claim(subscription, 40).await;
        // The leases are over, so all may be resent, claimed anew and recorded at the same time.
        world.clock.advance(Duration::from_mins(1));
        let results: Vec<_> = held.iter().map(|delivery| world.result(delivery, outcome)).collect();
        let backwards: Vec<_> = results.iter().rev().cloned().collect();
        world.start_replay(subscription).await;
        let (store, ids, now) = (world.store.clone(), world.sources.ids.clone(), world.now());
        let replaying = tokio::spawn(async move {
            let next_id = move || ids.next();
            while store.advance_bulk(100, &next_id, now).await.expect("no deadlock").more {}
        });
        let (one, other, claimed) = tokio::join!(
            world.store.record(&results, DisableAfter::default(), now),
            world.store.record(&backwards, DisableAfter::default(), now),
            world.claim(subscription, 20)
        );
        replaying.await.expect("no panic");
        let counted = |recorded: Vec<Recorded>| recorded.iter().filter(|r| **r == Recorded::Counted).count();
        assert!(counted(one.expect("no deadlock")) + counted(other.expect("no deadlock")) <= 40);
        for delivery in claimed {
            world.record(&delivery, Outcome::Delivered).await;
        }
    }
}

#[tokio::test]
async fn a_claim_leaves_a_probe_to_whoever_holds_the_endpoints_health() {
    let (world, pool) = world_on(10).await;
    let subscription = world.subscribe("orders", None).await;
    for _ in 0..12 {
        world.notify(subscription).await;
    }
    for delivery in world.claim(subscription, 10).await {
        world.miss(&delivery).await;
    }
    world.clock.advance(Duration::from_mins(1));
    let mut holding = pool.begin().await.expect("a transaction");
    let row = "SELECT 1 FROM subscription_health FOR UPDATE";
    sqlx::query(row).fetch_one(&mut *holding).await.expect("as results do");
    assert!(without_waiting(world.claim(subscription, 10)).await.is_empty());
    holding.rollback().await.expect("let go");
    assert_eq!(world.claim(subscription, 10).await.len(), 1);
}

#[tokio::test]
async fn a_cancellation_waits_for_nobody_and_comes_back_for_what_another_held() {
    let (world, pool) = world_on(10).await;
    let subscription = world.subscribe("orders", None).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.notify(subscription).await);
        world.clock.advance(Duration::from_secs(1));
    }
    let all = BulkFilter::all(BulkAction::Cancellation, subscription);
    let id = world.start(BulkAction::Cancellation, all).await;
    let held = hold(&pool, "SELECT id FROM waiting WHERE id = $1 FOR UPDATE", ids[1]).await;
    let step = without_waiting(world.step(10)).await;
    assert_eq!((step.changed, step.more), (2, true));
    let step = without_waiting(world.step(10)).await;
    assert_eq!((step.changed, step.more), (0, false), "it is tried again after a while");
    held.rollback().await.expect("let go");
    assert_eq!(world.step(10).await.changed, 1);
    let done = world.shown(BulkAction::Cancellation, id).await.expect("there");
    assert_eq!((done.matched, done.changed, done.finished_at), (3, 3, Some(world.now())));
    for id in ids {
        assert_eq!(world.show(id).await.audits.len(), 1);
    }
}
