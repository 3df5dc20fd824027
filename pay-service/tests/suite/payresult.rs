//! The check-back interface.

use serde_json::json;

use crate::support::harness::{Harness, OPERATOR, OTHER, SHOP, new_order};

#[tokio::test]
async fn a_recharge_is_found_by_either_number() {
    let service = Harness::start().await;
    let created = service.create(SHOP, &new_order("order/1&x", &json!({ "attach": "x" }))).await.body;
    let tx_no = created["tx_no"].as_str().expect("a number");
    for (key, path) in [
        (SHOP, format!("/v1/payresult/{tx_no}")),
        (OPERATOR, format!("/v1/payresult/{tx_no}")),
        (SHOP, "/v1/payresult?merchant_order_no=order%2F1%26x".into()),
        (SHOP, "/v1/payresult?merchant_order_no=order%2F1%26x&merchant=shop".into()),
        (OPERATOR, "/v1/payresult?merchant_order_no=order%2F1%26x&merchant=shop".into()),
    ] {
        let answer = service.get(key, &path).await;
        assert_eq!((answer.status, &answer.body), (200, &created), "{key} {path}");
    }
}

#[tokio::test]
async fn another_merchants_recharge_is_not_found_like_one_that_does_not_exist() {
    let service = Harness::start().await;
    let created = service.create(SHOP, &new_order("order-1", &json!({}))).await.body;
    let tx_no = created["tx_no"].as_str().expect("a number");
    let unknown = service.get(OTHER, "/v1/payresult/01900000-0000-7000-8000-000000000000").await;
    assert_eq!(unknown.status, 404);
    for path in [
        format!("/v1/payresult/{tx_no}"),
        "/v1/payresult/1".into(),
        "/v1/payresult?merchant_order_no=order-1".into(),
        "/v1/payresult?merchant_order_no=order-1&merchant=shop".into(),
    ] {
        let answer = service.get(OTHER, &path).await;
        assert_eq!((answer.status, &answer.body["type"]), (404, &unknown.body["type"]), "{path}");
    }
    let hidden = service.get(OTHER, &format!("/v1/payresult/{tx_no}")).await;
    assert_eq!(hidden.body, unknown.body, "the answer does not tell that it exists");
}
