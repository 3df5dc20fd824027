//! Subscriptions addressed by name.

use serde_json::{Value, json};
use wiremock::MockServer;

use super::harness::{BANK, Harness, OPERATOR, SHOP};

async fn subscribe(harness: &Harness, key: &str, name: &str, url: &str) -> Value {
    let body = json!({ "name": name, "url": url, "event_types": ["*"] });
    harness.post(key, "/v1/subscriptions", body).await.answered(201)
}

#[tokio::test]
async fn every_path_that_takes_an_id_takes_a_name() {
    let (harness, receiver) = (Harness::new().await, MockServer::start().await);
    let made = subscribe(&harness, SHOP, "orders", &receiver.uri()).await;
    for (key, path) in
        [(SHOP, "/v1/subscriptions/name:orders"), (OPERATOR, "/v1/subscriptions/name:shop%2Forders")]
    {
        assert_eq!(harness.get(key, path).await.answered(200)["id"], made["id"]);
        let patched = harness.patch(key, path, json!({ "rate_limit": 5 })).await.answered(200);
        assert_eq!(patched["id"], made["id"]);
        let rotated = harness.call(key, "POST", &format!("{path}/rotate-secret"), None).await.answered(200);
        assert_eq!(rotated["id"], made["id"]);
        harness.call(key, "POST", &format!("{path}/test"), None).await.answered(200);
        let audits = harness.get(key, &format!("{path}/audits")).await.answered(200);
        assert!(!audits["items"].as_array().expect("a list").is_empty());
    }
    harness.call(SHOP, "DELETE", "/v1/subscriptions/name:orders", None).await.answered(204);
    harness.get(SHOP, "/v1/subscriptions/name:orders").await.refused(404, None);
    let by_id = format!("/v1/subscriptions/{}", made["id"].as_str().expect("an id"));
    harness.get(SHOP, &by_id).await.refused(404, None);
}

#[tokio::test]
async fn a_name_is_of_the_caller_or_of_whom_the_operator_says() {
    let harness = Harness::new().await;
    let mut made = Vec::new();
    for (key, name) in
        [(SHOP, "orders"), (BANK, "orders"), (OPERATOR, "orders"), (SHOP, "a/b c%"), (OPERATOR, "a/b")]
    {
        made.push(subscribe(&harness, key, name, "https://shop.example").await["id"].clone());
    }
    for (key, path, expected) in [
        (SHOP, "name:orders", Some(0)),
        (BANK, "name:orders", Some(1)),
        (OPERATOR, "name:orders", Some(2)),
        (OPERATOR, "name%3Ashop%2Forders", Some(0)),
        (OPERATOR, "name:bank%2forders", Some(1)),
        (SHOP, "name:a%2Fb%20c%25", Some(3)),
        (OPERATOR, "name:shop%2Fa%2Fb%20c%25", Some(3)),
        (OPERATOR, "name:%2Fa%2Fb", Some(4)),
        (OPERATOR, "name:a%2Fb", None),
        (SHOP, "name:shop%2Forders", None),
        (SHOP, "name:Orders", None),
        (SHOP, "name:", None),
        (SHOP, "name:orders%00", None),
        (OPERATOR, "name:shop%00%2Forders", None),
        (OPERATOR, "name:nobody%2Forders", None),
        (SHOP, "orders", None),
    ] {
        let answer = harness.get(key, &format!("/v1/subscriptions/{path}")).await;
        match expected {
            Some(index) => assert_eq!(answer.answered(200)["id"], made[index], "{path}"),
            None => answer.refused(404, None),
        }
    }
}

#[tokio::test]
async fn filters_take_a_name_and_answer_404_to_one_that_is_not_there() {
    let mut harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    harness.subscribe(SHOP, "other").await;
    harness.notify(&orders, "tx-1").await;
    for path in ["/v1/notifications", "/v1/notifications/counts", "/v1/replays", "/v1/cancellations"] {
        harness.get(SHOP, &format!("{path}?subscription_id=name:nothing")).await.refused(404, None);
        harness
            .get(SHOP, &format!("{path}?subscription_id=orders"))
            .await
            .refused(400, Some("subscription_id"));
    }
    let body = json!({ "subscription_id": "name:orders" });
    harness.post(SHOP, "/v1/cancellations", body).await.answered(202);
    harness.run_bulks().await;
    for (key, name) in
        [(SHOP, "name:orders"), (OPERATOR, "name:shop/orders"), (OPERATOR, "name%3Ashop%2Forders")]
    {
        for path in ["/v1/notifications", "/v1/notifications/counts", "/v1/cancellations"] {
            let list = harness.get(key, &format!("{path}?subscription_id={name}")).await.answered(200);
            let items = list["items"].as_array().expect("a list");
            assert_eq!(items.len(), 1, "{path} {name}");
            assert_eq!(items[0]["subscription_id"], orders["id"], "{path} {name}");
        }
    }
}
