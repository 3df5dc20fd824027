//! A merchant's key sees and touches only what is its own.

use serde_json::{Value, json};

use super::harness::{BANK, Harness, OPERATOR, SHOP, path_of};

#[tokio::test]
async fn another_merchants_id_answers_404_everywhere_and_changes_nothing() {
    let harness = Harness::new().await;
    let of_shop = harness.subscribe(SHOP, "orders").await;
    let of_operator = harness.subscribe(OPERATOR, "all").await;
    let notifications = [harness.notify(&of_shop, "tx-1").await, harness.notify(&of_operator, "tx-2").await];
    let replay = json!({ "subscription_id": of_shop["id"] });
    let replay = harness.post(SHOP, "/v1/replays", replay).await.answered(202);
    let before = harness.everything().await;
    let mut requests: Vec<(&str, String, Option<Value>)> = Vec::new();
    for subscription in [&of_shop, &of_operator] {
        let path = path_of(subscription);
        requests.push(("GET", path.clone(), None));
        requests.push(("PATCH", path.clone(), Some(json!({ "name": "mine" }))));
        requests.push(("PATCH", path.clone(), Some(json!({ "url": "https://bank.example/" }))));
        requests.push(("DELETE", path.clone(), None));
        requests.push(("GET", format!("{path}/audits"), None));
        requests.push(("POST", format!("{path}/rotate-secret"), None));
        requests.push(("POST", format!("{path}/test"), None));
        for path in ["/v1/replays", "/v1/cancellations"] {
            requests.push(("POST", path.into(), Some(json!({ "subscription_id": subscription["id"] }))));
        }
    }
    for id in notifications {
        requests.push(("GET", format!("/v1/notifications/{id}"), None));
        requests.push(("POST", format!("/v1/notifications/{id}/resend"), None));
        requests.push(("POST", format!("/v1/notifications/{id}/cancel"), None));
    }
    requests.push(("GET", format!("/v1/replays/{}", replay["id"].as_str().expect("an id")), None));
    requests.push(("GET", "/v1/subscriptions?merchant=shop".into(), None));
    requests.push(("GET", "/v1/notifications?merchant=shop".into(), None));
    requests.push(("GET", "/v1/notifications/counts?merchant=shop".into(), None));
    for (method, path, body) in requests {
        harness.call(BANK, method, &path, body.as_ref()).await.refused(404, None);
    }
    assert_eq!(harness.everything().await, before);
}

#[tokio::test]
async fn lists_show_a_merchant_its_own_alone_and_the_operator_all() {
    let harness = Harness::new().await;
    let of_shop = harness.subscribe(SHOP, "orders").await;
    let of_operator = harness.subscribe(OPERATOR, "all").await;
    harness.subscribe(BANK, "orders").await;
    harness.notify(&of_shop, "tx-1").await;
    let count = async |key, path: &str| {
        harness.get(key, path).await.answered(200)["items"].as_array().expect("a list").len()
    };
    assert_eq!(count(OPERATOR, "/v1/subscriptions").await, 3);
    assert_eq!(count(OPERATOR, "/v1/subscriptions?merchant=bank").await, 1);
    assert_eq!(count(SHOP, "/v1/subscriptions").await, 1);
    assert_eq!(count(OPERATOR, "/v1/notifications").await, 2);
    assert_eq!(count(SHOP, "/v1/notifications").await, 1);
    assert_eq!(count(BANK, "/v1/notifications").await, 0);
    let of_shop = of_shop["id"].as_str().expect("an id");
    assert_eq!(count(BANK, &format!("/v1/notifications?subscription_id={of_shop}")).await, 0);
    assert_eq!(of_operator["merchant"], Value::Null);
}

#[tokio::test]
async fn a_merchants_key_subscribes_for_nobody_else() {
    let harness = Harness::new().await;
    let body = |merchant| json!({ "name": "x", "url": "https://a.example/", "event_types": ["*"], "merchant": merchant });
    harness.post(BANK, "/v1/subscriptions", body("shop")).await.refused(403, None);
    assert_eq!(harness.post(BANK, "/v1/subscriptions", body("bank")).await.answered(201)["merchant"], "bank");
}
