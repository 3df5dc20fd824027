//! The notification log through the API.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Harness, OPERATOR, SHOP, path_of};

#[tokio::test]
async fn a_notification_shows_its_event_its_attempts_and_who_did_what() {
    let harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let id = harness.notify(&subscription, "tx-1").await;
    harness.fail_next(&subscription).await;
    let path = format!("/v1/notifications/{id}");
    let shown = harness.get(SHOP, &path).await.answered(200);
    assert_eq!((&shown["state"], &shown["attempt_count"]), (&json!("pending"), &json!(1)));
    assert_eq!(
        (&shown["next_attempt_at"], &shown["waits_for"]),
        (&json!("2026-01-01T00:01:00.012Z"), &json!("retry"))
    );
    assert_eq!(shown["event"]["data"], json!({ "tx_no": "tx-1" }));
    assert_eq!(shown["event"]["type"], "recharge.succeeded");
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["outcome"]), (&json!(1), &json!("failed")));
    assert_eq!((&attempt["http_status"], &attempt["duration_ms"]), (&json!(500), &json!(12)));
    assert_eq!((&attempt["error"], &attempt["response_excerpt"]), (&json!("HTTP 500"), &json!("busy")));
    assert_eq!(attempt["started_at"], "2026-01-01T00:00:00Z");
    let resent =
        harness.post(SHOP, &format!("{path}/resend"), json!({ "reason": "they asked" })).await.answered(200);
    assert_eq!(resent["next_attempt_at"], "2026-01-01T00:00:00Z");
    let cancelled = harness.call(OPERATOR, "POST", &format!("{path}/cancel"), None).await.answered(200);
    assert_eq!(cancelled["state"], "cancelled");
    let audits = &harness.get(SHOP, &path).await.answered(200)["audits"];
    let at = "2026-01-01T00:00:00Z";
    let expected = json!([
        { "action": "resend", "actor": "merchant:shop", "reason": "they asked", "at": at },
        { "action": "cancel", "actor": "operator", "reason": null, "at": at },
    ]);
    assert_eq!(*audits, expected);
}

#[tokio::test]
async fn what_can_not_be_done_answers_409() {
    let harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let id = harness.notify(&subscription, "tx-1").await;
    let resend = format!("/v1/notifications/{id}/resend");
    let cancel = format!("/v1/notifications/{id}/cancel");
    harness.claim(&subscription).await;
    harness.call(SHOP, "POST", &resend, None).await.refused(409, None);
    harness.call(SHOP, "POST", &cancel, None).await.answered(200);
    harness.call(SHOP, "POST", &cancel, None).await.refused(409, None);
    harness.call(SHOP, "DELETE", &path_of(&subscription), None).await.answered(204);
    harness.call(SHOP, "POST", &resend, None).await.refused(409, None);
}

#[tokio::test]
async fn the_undelivered_are_a_query() {
    let harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let first = harness.notify(&subscription, "tx-1").await;
    for _ in 0..2 {
        harness.fail_next(&subscription).await;
        harness.clock.advance(Duration::from_secs(61));
    }
    let second = harness.notify(&subscription, "tx-2").await;
    let ids = async |query: &str| {
        let list = harness.get(SHOP, &format!("/v1/notifications?{query}")).await.answered(200);
        let items = list["items"].as_array().expect("a list").clone();
        items.into_iter().map(|item| item["id"].clone()).collect::<Vec<Value>>()
    };
    let [first, second] = [first, second].map(|id| json!(id.to_string()));
    assert_eq!(ids("state=exhausted").await, vec![first.clone()]);
    assert_eq!(ids("state=pending").await, vec![second.clone()]);
    assert_eq!(ids("state=undelivered").await, [second.clone(), first.clone()]);
    assert_eq!(ids("state=held,exhausted").await, vec![first.clone()]);
    assert_eq!(ids("failure_class=dns,status").await, vec![first.clone()]);
    assert!(ids("failure_class=dns&state=undelivered").await.is_empty());
    assert_eq!(ids("event_type=recharge.*&limit=1").await, vec![second.clone()]);
    let exhausted = harness.get(SHOP, "/v1/notifications?state=exhausted").await.answered(200);
    assert_eq!(exhausted["items"][0]["failure_class"], "status");
    assert_eq!(ids("subject=tx-1").await, vec![first.clone()]);
    assert_eq!(ids("event_type=recharge.succeeded&merchant=shop").await, [second.clone(), first.clone()]);
    assert_eq!(ids("created_from=2026-01-01T00:02:02Z").await, [second]);
    assert_eq!(ids("created_to=2026-01-01T00:02:02Z&limit=1").await, [first]);
    assert!(ids("event_id=unknown").await.is_empty());
}
