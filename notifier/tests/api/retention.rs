//! The log has an end, and what comes from beyond it is not taken.

use std::time::Duration;

use messaging::Event;
use messaging::consumer::Verdict;
use runtime::Clock;
use serde_json::json;

use super::harness::{Harness, OPERATOR, SHOP, path_of};
use crate::backend;

const DAY: Duration = Duration::from_hours(24);

fn events_expired(metrics: &str) -> Option<&str> {
    metrics.lines().find_map(|line| line.strip_prefix("ringback_events_expired_total "))
}

#[tokio::test]
async fn an_event_of_a_day_that_was_removed_goes_to_the_dead_letters_and_is_counted() {
    let mut harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let event =
        Event::new(harness.id(), "/pay-service", "recharge.succeeded", harness.clock.now(), &json!({}));
    let event = event.expect("an event").about("tx-1", "shop");
    assert_eq!(harness.take_in(vec![event.clone()]).await, [Verdict::Done]);
    harness.call(OPERATOR, "DELETE", &path_of(&subscription), None).await.answered(204);
    harness.clock.advance(DAY);
    harness.run_upkeep().await;
    assert_eq!(harness.take_in(vec![event.clone()]).await, [Verdict::Done]);

    harness.clock.advance(DAY * 91);
    harness.run_upkeep().await;
    let listed = harness.get(OPERATOR, "/v1/notifications").await.answered(200);
    assert_eq!(listed["items"], json!([]));
    let mut odd = event.clone();
    odd.id = "a.b".into();
    let verdicts = harness.take_in(vec![odd, event]).await;
    let [Verdict::DeadLetter(odd), Verdict::DeadLetter(reason)] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert!(odd.contains("visible ASCII") && reason.contains("older than the log"), "{verdicts:?}");
    let metrics = harness.get("", "/metrics").await.answered(200);
    let metrics = metrics.as_str().expect("text");
    assert_eq!(events_expired(metrics), Some("1"));
    assert!(backend::day_was_removed(metrics), "{metrics}");
}

#[tokio::test]
async fn the_days_are_looked_after_once_an_hour() {
    let mut harness = Harness::new().await;
    let event = Event::new(harness.id(), "/pay-service", "order.paid", harness.clock.now(), &json!({}));
    harness.take_in(vec![event.expect("an event")]).await;
    harness.clock.advance(DAY * 91 + Duration::from_mins(59));
    harness.run_upkeep().await;
    let removed = async |harness: &Harness| {
        let metrics = harness.get("", "/metrics").await.answered(200);
        metrics.as_str().expect("text").contains("rows_removed_total{kind=\"event\"} 1")
    };
    assert!(!removed(&harness).await, "the day is not over for an hour");
    harness.clock.advance(Duration::from_mins(59));
    harness.run_upkeep().await;
    assert!(!removed(&harness).await, "looked after less than an hour ago");
    harness.clock.advance(Duration::from_mins(1));
    harness.run_upkeep().await;
    assert!(removed(&harness).await);
}

#[tokio::test]
async fn an_event_with_anothers_identity_and_other_content_goes_to_the_dead_letters_and_is_counted() {
    let mut harness = Harness::new().await;
    harness.subscribe(OPERATOR, "orders").await;
    let id = harness.id();
    let event = |source: &str, data: i32| {
        Event::new(id, source, "recharge.succeeded", harness.clock.now(), &data).expect("an event")
    };
    let batch = vec![event("/shop", 1), event("/warehouse", 1), event("/shop", 2), event("/shop", 1)];
    let verdicts = harness.take_in(batch).await;
    let [Verdict::Done, Verdict::Done, Verdict::DeadLetter(reason), Verdict::Done] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert!(reason.contains("same source and id") && reason.contains("data differs"), "{reason}");
    let found = harness.get(OPERATOR, &format!("/v1/notifications?event_id={id}")).await.answered(200);
    assert_eq!(found["items"].as_array().expect("a list").len(), 2);
    let metrics = harness.get("", "/metrics").await.answered(200);
    let metrics = metrics.as_str().expect("text");
    assert!(metrics.lines().any(|line| line == "ringback_events_contradicted_total 1"), "{metrics}");
    assert_eq!(events_expired(metrics), Some("0"));
}
