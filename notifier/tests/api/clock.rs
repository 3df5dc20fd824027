//! A clock that is wrong for a while.

use std::time::Duration;

use chrono::TimeDelta;
use messaging::Event;
use messaging::consumer::Verdict;
use runtime::Clock;
use serde_json::json;

use super::harness::{Harness, OPERATOR, SHOP, path_of};

/// A notification that is final, and came in so long ago.
async fn with_an_old_notification(age: TimeDelta) -> Harness {
    let mut harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let then = harness.clock.now() - age;
    let event = Event::new(harness.id(), "/pay-service", "recharge.succeeded", then, &json!({}));
    let mut event = event.expect("an event").about("tx-1", "shop");
    event.id = "order-1".into(); // no UUIDv7, so its time is the event's
    harness.take_in_at(event, then).await;
    harness.call(OPERATOR, "DELETE", &path_of(&subscription), None).await.answered(204);
    harness
}

async fn shown(harness: &Harness) -> usize {
    let listed = harness.get(OPERATOR, "/v1/notifications").await.answered(200);
    listed["items"].as_array().expect("a list").len()
}

async fn ahead(harness: &Harness) -> Option<i64> {
    let metrics = harness.get("", "/metrics").await.answered(200);
    let metrics = metrics.as_str().expect("text");
    metrics.lines().find_map(|line| line.strip_prefix("ringback_clock_ahead_seconds ")?.parse().ok())
}

#[tokio::test]
async fn a_process_that_starts_with_a_clock_that_is_ahead_removes_nothing_for_an_hour() {
    let age = TimeDelta::days(100);
    let mut harness = with_an_old_notification(age).await;
    harness.clock.expect_since(harness.clock.now() - age, TimeDelta::hours(1));
    harness.run_upkeep().await;
    assert_eq!(shown(&harness).await, 1);
    assert_eq!(ahead(&harness).await, Some(8_640_000 - 3600));
    let unready = harness.get("", "/readyz?strict=true").await;
    assert!(unready.body["errors"].as_array().is_some_and(|e| e.iter().any(|e| e["field"] == "clock")));
    harness.clock.advance(Duration::from_hours(1));
    harness.run_upkeep().await;
    assert_eq!((shown(&harness).await, ahead(&harness).await), (0, Some(0)));
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_while_running_removes_nothing_and_dead_letters_nothing() {
    let mut harness = with_an_old_notification(TimeDelta::days(2)).await;
    harness.clock.step(TimeDelta::days(100));
    harness.run_upkeep().await;
    assert_eq!((shown(&harness).await, ahead(&harness).await), (1, Some(8_640_000)));
    let event = Event::new(harness.id(), "/elsewhere", "order.paid", harness.clock.wall(), &json!({}));
    assert_eq!(harness.take_in(vec![event.expect("an event")]).await, [Verdict::Done]);
    harness.clock.step(TimeDelta::days(-100));
    harness.run_upkeep().await;
    assert_eq!((shown(&harness).await, ahead(&harness).await), (1, Some(0)));
}

#[tokio::test]
async fn what_is_too_old_is_removed_though_the_time_can_t_be_noted() {
    let mut harness = with_an_old_notification(TimeDelta::days(100)).await;
    assert!(harness.run_upkeep_without_noting().await > 0, "and it is said that it can't");
    assert_eq!(shown(&harness).await, 0);
}

#[tokio::test]
async fn nothing_is_removed_while_another_process_is_at_work_at_a_much_earlier_time() {
    let mut harness = with_an_old_notification(TimeDelta::days(2)).await;
    harness.run_upkeep().await;
    let then = harness.clock.now();
    harness.clock.advance(Duration::from_hours(24 * 100));
    harness.store.note_time(then - TimeDelta::hours(2)).await.expect("a store");
    harness.run_upkeep().await;
    assert_eq!(shown(&harness).await, 1);
    harness.run_upkeep().await;
    assert_eq!(shown(&harness).await, 0, "the other is gone");
}
