//! Subscriptions through the API.

use serde_json::{Value, json};
use wiremock::matchers::{header_exists, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::harness::{Harness, OPERATOR, SHOP, path_of};

#[tokio::test]
async fn a_subscription_is_answered_in_full_and_its_secret_only_once() {
    let harness = Harness::new().await;
    let body = json!({
        "name": "orders", "url": "https://shop.example/hook", "event_types": ["recharge.*", "order.paid"],
        "description": "for orders", "ladder": ["1s", "5m"],
        "ack": {"json": {"pointer": "/code", "equals": "SUCCESS"}}, "timeout": "5s", "max_in_flight": 4,
        "rate_limit": 100, "headers": {"X-Tenant": "7"}, "merchant": "shop",
    });
    let answer = harness.post(OPERATOR, "/v1/subscriptions", body.clone()).await;
    assert!(answer.headers["location"].to_str().expect("text").starts_with("/v1/subscriptions/"));
    let mut made = answer.answered(201);
    for (field, value) in body.as_object().expect("an object") {
        assert_eq!(made[field], *value, "{field}");
    }
    assert_eq!((&made["state"], &made["disabled_reason"]), (&json!("active"), &Value::Null));
    let secret = made.as_object_mut().expect("an object").remove("secret").expect("a secret");
    assert!(secret.as_str().expect("text").starts_with("whsec_"));
    assert_eq!(harness.get(SHOP, &path_of(&made)).await.answered(200), made);
    assert_eq!(harness.get(SHOP, "/v1/subscriptions").await.answered(200)["items"], json!([made]));
}

#[tokio::test]
async fn defaults_are_those_of_the_contract() {
    let harness = Harness::new().await;
    let body = json!({ "name": "all", "url": "https://shop.example/", "event_types": ["*"] });
    let made = harness.post(OPERATOR, "/v1/subscriptions", body).await.answered(201);
    assert_eq!((&made["ladder"], &made["ack"]), (&json!("standard"), &json!("status")));
    assert_eq!((&made["timeout"], &made["max_in_flight"]), (&json!("10s"), &json!(32)));
    assert_eq!((&made["rate_limit"], &made["merchant"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_clears() {
    let harness = Harness::new().await;
    let made = harness.subscribe(SHOP, "orders").await;
    let path = path_of(&made);
    let wish = json!({ "name": "renamed", "rate_limit": 5, "description": "x", "ladder": "alipay" });
    let patched = harness.patch(SHOP, &path, wish).await.answered(200);
    assert_eq!((&patched["name"], &patched["rate_limit"]), (&json!("renamed"), &json!(5)));
    assert_eq!((&patched["ladder"], &patched["url"]), (&json!("alipay"), &made["url"]));
    let patched =
        harness.patch(SHOP, &path, json!({ "rate_limit": null, "description": null })).await.answered(200);
    assert_eq!((&patched["rate_limit"], &patched["description"]), (&Value::Null, &Value::Null));
    let paused = harness.patch(SHOP, &path, json!({ "state": "paused" })).await.answered(200);
    assert_eq!(paused["state"], "paused");
    let disabled = harness.patch(SHOP, &path, json!({ "state": "disabled" })).await.answered(200);
    assert_eq!(disabled["disabled_reason"], "disabled by merchant:shop");
    let active = harness.patch(SHOP, &path, json!({ "state": "active" })).await.answered(200);
    assert_eq!((&active["state"], &active["disabled_reason"]), (&json!("active"), &Value::Null));
}

#[tokio::test]
async fn a_deleted_subscription_is_gone_and_its_name_free() {
    let harness = Harness::new().await;
    let made = harness.subscribe(SHOP, "orders").await;
    let body = json!({ "name": "orders", "url": "https://shop.example/", "event_types": ["*"] });
    harness.post(SHOP, "/v1/subscriptions", body.clone()).await.refused(409, None);
    let path = path_of(&made);
    assert_eq!(harness.call(SHOP, "DELETE", &path, None).await.status, 204);
    harness.get(SHOP, &path).await.refused(404, None);
    harness.call(SHOP, "DELETE", &path, None).await.refused(404, None);
    harness.patch(SHOP, &path, json!({})).await.refused(404, None);
    harness.post(SHOP, "/v1/subscriptions", body).await.answered(201);
}

#[tokio::test]
async fn a_rotation_answers_the_new_secret_with_or_without_a_body() {
    let harness = Harness::new().await;
    let made = harness.subscribe(SHOP, "orders").await;
    let path = format!("{}/rotate-secret", path_of(&made));
    let rotated = harness.call(SHOP, "POST", &path, None).await.answered(200);
    assert_eq!(rotated["overlap_until"], "2026-01-02T00:00:00Z");
    assert_ne!(rotated["secret"], made["secret"]);
    let again = harness.post(SHOP, &path, json!({ "overlap": "0s" })).await.answered(200);
    assert_ne!(again["secret"], rotated["secret"]);
}

#[tokio::test]
async fn a_test_sends_a_signed_event_and_answers_with_the_attempt() {
    let harness = Harness::new().await;
    let receiver = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header_exists("webhook-signature"))
        .respond_with(ResponseTemplate::new(500).set_body_string("not today"))
        .expect(1)
        .mount(&receiver)
        .await;
    let body = json!({ "name": "t", "url": receiver.uri(), "event_types": ["*"] });
    let made = harness.post(SHOP, "/v1/subscriptions", body).await.answered(201);
    let tested = harness.call(SHOP, "POST", &format!("{}/test", path_of(&made)), None).await.answered(200);
    assert_eq!((&tested["outcome"], &tested["http_status"]), (&json!("failed"), &json!(500)));
    assert_eq!((&tested["failure_class"], &tested["number"]), (&json!("status"), &json!(1)));
    assert_eq!(tested["response_excerpt"], "not today");
    assert!(tested["event_id"].is_string());
    assert_eq!(harness.get(SHOP, "/v1/notifications").await.answered(200)["items"], json!([]));
}

/// An operator wants to know whether the endpoint answers before letting the notifications go.
#[tokio::test]
async fn a_paused_or_disabled_subscription_is_tested_like_any_other_and_stays_so() {
    let harness = Harness::new().await;
    let receiver = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).expect(2).mount(&receiver).await;
    let body = json!({ "name": "t", "url": receiver.uri(), "event_types": ["*"] });
    let path = path_of(&harness.post(SHOP, "/v1/subscriptions", body).await.answered(201));
    for state in ["paused", "disabled"] {
        harness.patch(SHOP, &path, json!({ "state": state })).await.answered(200);
        let tested = harness.call(SHOP, "POST", &format!("{path}/test"), None).await.answered(200);
        assert_eq!((&tested["outcome"], &tested["http_status"]), (&json!("delivered"), &json!(200)));
        assert_eq!(harness.get(SHOP, &path).await.answered(200)["state"], state);
    }
}

#[tokio::test]
async fn an_address_that_must_not_be_reached_is_refused_when_the_connection_is_made() {
    let harness = Harness::new().await;
    let urls = [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://0x0a000001/",
        "http://1.1.1.1/without-tls",
    ];
    for (number, url) in urls.into_iter().enumerate() {
        let body = json!({ "name": format!("inside-{number}"), "url": url, "event_types": ["*"] });
        let made = harness.post(SHOP, "/v1/subscriptions", body).await.answered(201);
        let tested =
            harness.call(SHOP, "POST", &format!("{}/test", path_of(&made)), None).await.answered(200);
        let attempt = tested.get("attempt").unwrap_or(&tested);
        assert_eq!(attempt["failure_class"], "blocked_target", "{url}: {tested}");
        assert_eq!(attempt["http_status"], Value::Null, "{url}");
    }
}
