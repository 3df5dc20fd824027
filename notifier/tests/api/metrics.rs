//! What Prometheus sees.

use runtime::testing::metrics::assert_documented;

use serde_json::json;

use super::harness::{Harness, SHOP, path_of};

#[tokio::test]
async fn the_page_of_metrics_says_what_is_shown() {
    let harness = Harness::new().await;
    harness.get("", "/healthz").await.answered(200);
    let shown = harness.get("", "/metrics").await.answered(200);
    assert_documented("notifier", shown.as_str().expect("text"));
}

#[tokio::test]
async fn what_waits_is_shown_by_state() {
    let mut harness = Harness::new().await;
    let [active, paused] = [harness.subscribe(SHOP, "a").await, harness.subscribe(SHOP, "b").await];
    harness.patch(SHOP, &path_of(&paused), json!({ "state": "paused" })).await.answered(200);
    harness.notify(&active, "tx-1").await;
    harness.notify(&active, "tx-2").await;
    harness.claim(&active).await;
    harness.clock.advance(std::time::Duration::from_secs(7));
    harness.measure_backlog().await;
    let shown = harness.get("", "/metrics").await.answered(200);
    let shown = shown.as_str().expect("text");
    for line in [
        "ringback_notifications_waiting{state=\"pending\"} 1",
        "ringback_notifications_waiting{state=\"delivering\"} 1",
        "ringback_notifications_waiting{state=\"held\"} 2",
        "ringback_oldest_waiting_seconds{state=\"held\"} 7",
        "ringback_overdue_seconds 7",
    ] {
        assert!(shown.lines().any(|one| one == line), "{line}: {shown}");
    }
}
