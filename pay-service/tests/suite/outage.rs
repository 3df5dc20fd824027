//! What is answered while something is down.

use runtime::background::Worker;
use serde_json::json;

use crate::support::harness::{Harness, SHOP, new_order};

#[tokio::test]
async fn while_the_broker_is_down_everything_is_answered_and_the_result_is_published_later() {
    let mut service = Harness::start().await;
    service.broker.go_down();
    let created = service.create(SHOP, &new_order("order-1", &json!({}))).await;
    assert_eq!(created.status, 201);
    service.relay.run_once().await.expect_err("the broker is down");
    let tx_no = created.body["tx_no"].as_str().expect("a number");
    for path in [format!("/v1/payresult/{tx_no}"), "/v1/payresult?merchant_order_no=order-1".into()] {
        let found = service.get(SHOP, &path).await;
        assert_eq!((found.status, &found.body), (200, &created.body));
    }
    let ready = service.get("", "/readyz").await;
    assert_eq!((ready.status, &ready.body["errors"][0]["field"]), (503, &json!("broker")));
    assert_eq!(service.get("", "/healthz").await.status, 200);
    service.broker.come_back();
    assert_eq!(service.get("", "/readyz").await.status, 200);
    service.relay.run_once().await.expect("published");
    let published = service.broker.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].subject.as_deref(), Some(tx_no));
}

#[tokio::test]
async fn while_the_database_is_down_the_answer_is_unknown_and_never_a_result() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    service.backend.go_down().await;
    let body = json!({ "tx_no": tx_no, "amount": 1000, "currency": "CNY", "result": "succeeded" });
    for answer in [
        service.create(SHOP, &new_order("order-2", &json!({}))).await,
        service.get(SHOP, &format!("/v1/payresult/{tx_no}")).await,
        service.get(SHOP, "/v1/payresult?merchant_order_no=nothing").await,
        service.get(SHOP, "/v1/recharges").await,
        service.call_back(&body).await,
        service.get("", "/readyz").await,
    ] {
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["field"]),
            (503, &json!("database")),
            "{answer:?}"
        );
        assert_eq!(answer.body["type"], "urn:ringback:problem:unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }
}
