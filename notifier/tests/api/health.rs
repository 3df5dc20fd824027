//! How endpoints do, as it is shown.

use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::harness::{Harness, OPERATOR, SHOP, id_of, path_of};

async fn health(harness: &Harness, subscription: &Value) -> Value {
    let shown = harness.get(SHOP, &path_of(subscription)).await.answered(200)["health"].clone();
    let list = harness.get(SHOP, "/v1/subscriptions").await.answered(200);
    let listed = list["items"].as_array().expect("a list").iter().find(|one| one["id"] == subscription["id"]);
    assert_eq!(listed.expect("it is listed")["health"], shown);
    shown
}

/// Ten attempts that reached nobody.
async fn lose(harness: &Harness, subscription: &Value) {
    for n in 0..12 {
        harness.notify(subscription, &format!("tx-{n}")).await;
    }
    for _ in 0..10 {
        harness.miss_next(subscription).await;
    }
}

#[tokio::test]
async fn a_subscription_shows_since_when_it_fails_and_when_it_is_probed() {
    let harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    let well = json!({ "state": "healthy", "failing_since": null, "failure_class": null, "unreached_attempts": 0,
        "next_probe_at": null, "paused_until": null });
    assert_eq!((&orders["health"], health(&harness, &orders).await), (&well, well.clone()));
    harness.notify(&orders, "tx").await;
    harness.fail_next(&orders).await;
    let since = "2026-01-01T00:00:00Z";
    let failing = json!({ "state": "failing", "failing_since": since, "failure_class": "status", "unreached_attempts": 0,
        "next_probe_at": null, "paused_until": null });
    assert_eq!(health(&harness, &orders).await, failing);
    lose(&harness, &orders).await;
    let lost = health(&harness, &orders).await;
    assert_eq!((&lost["state"], &lost["unreached_attempts"]), (&json!("unreachable"), &json!(10)));
    assert_eq!(lost["failure_class"], "connect");
    let behind =
        harness.get(SHOP, "/v1/notifications?failure_class=connect&state=pending").await.answered(200);
    let behind = behind["items"].as_array().expect("a list");
    let untried = behind.iter().filter(|one| one["attempt_count"] == 0).collect::<Vec<_>>();
    assert_eq!((behind.len(), untried.len()), (12, 2));
    assert!(untried.iter().all(|one| one["waits_for"] == "probe"), "{untried:?}");
    assert_eq!(
        (&lost["failing_since"], &lost["next_probe_at"]),
        (&json!(since), &json!("2026-01-01T00:01:00.012Z"))
    );
    let path = path_of(&orders);
    harness.patch(SHOP, &path, json!({ "state": "paused" })).await.answered(200);
    let resumed = harness.patch(SHOP, &path, json!({ "state": "active" })).await.answered(200);
    assert_eq!(resumed["health"], well);
}

#[tokio::test]
async fn a_pause_that_the_receiver_asked_for_is_shown_with_its_end_and_by_what_waits_for_it() {
    let harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    for n in 0..3 {
        harness.notify(&orders, &format!("tx-{n}")).await;
    }
    harness.pause_next(&orders, 3600).await;
    let (since, until) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00.012Z");
    let paused = json!({ "state": "paused_by_receiver", "failing_since": since, "failure_class": "status", "unreached_attempts": 0,
        "next_probe_at": null, "paused_until": until });
    assert_eq!(health(&harness, &orders).await, paused);
    let list = harness.get(SHOP, "/v1/notifications?state=pending").await.answered(200);
    let waiting = list["items"].as_array().expect("a list");
    assert_eq!(waiting.len(), 3);
    for one in waiting {
        assert_eq!((&one["waits_for"], &one["next_attempt_at"]), (&json!("receiver"), &json!(until)));
    }
}

#[tokio::test]
async fn a_test_that_succeeds_ends_the_probing_and_one_that_fails_does_not() {
    let harness = Harness::new().await;
    let receiver = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(1)
        .mount(&receiver)
        .await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&receiver).await;
    let body = json!({ "name": "t", "url": receiver.uri(), "event_types": ["*"] });
    let made = harness.post(SHOP, "/v1/subscriptions", body).await.answered(201);
    lose(&harness, &made).await;
    for (outcome, state) in [("failed", "unreachable"), ("delivered", "healthy")] {
        let tested =
            harness.call(SHOP, "POST", &format!("{}/test", path_of(&made)), None).await.answered(200);
        assert_eq!(
            (&tested["outcome"], &health(&harness, &made).await["state"]),
            (&json!(outcome), &json!(state))
        );
    }
    harness.claim(&made).await;
}

#[tokio::test]
async fn those_that_are_not_well_are_counted_and_what_waits_behind_a_probe_is_not_overdue() {
    let mut harness = Harness::new().await;
    let [lost, failing] = [harness.subscribe(SHOP, "lost").await, harness.subscribe(SHOP, "failing").await];
    let paused = harness.subscribe(SHOP, "paused").await;
    let disabled = harness
        .post(
            OPERATOR,
            "/v1/subscriptions",
            json!({ "name": "off", "url": "https://shop.example/",
        "event_types": ["order.*"] }),
        )
        .await
        .answered(201);
    harness.patch(OPERATOR, &path_of(&disabled), json!({ "state": "disabled" })).await.answered(200);
    lose(&harness, &lost).await;
    for _ in 0..12 {
        harness.fail_next(&failing).await;
    }
    harness.pause_next(&paused, 3600).await;
    harness.clock.advance(Duration::from_secs(30));
    harness.measure_backlog().await;
    let shown = harness.get("", "/metrics").await.answered(200);
    let shown = shown.as_str().expect("text");
    for line in [
        "ringback_subscriptions_unwell{health=\"failing\"} 1",
        "ringback_subscriptions_unwell{health=\"unreachable\"} 1",
        "ringback_subscriptions_unwell{health=\"paused_by_receiver\"} 1",
        "ringback_overdue_seconds 0",
    ] {
        assert!(shown.lines().any(|one| one == line), "{line}: {shown}");
    }
}

#[tokio::test]
async fn an_activation_ends_the_pause_that_this_process_keeps() {
    let harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    harness.schedule.take_unpaused();
    for (patch, ends) in [(json!({ "state": "paused" }), false), (json!({ "state": "active" }), true)] {
        harness.patch(SHOP, &path_of(&orders), patch).await.answered(200);
        assert_eq!(harness.schedule.take_unpaused().contains(&id_of(&orders)), ends);
    }
}
