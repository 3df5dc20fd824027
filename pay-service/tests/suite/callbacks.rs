//! The sandbox channel's callbacks.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::harness::{Harness, SHOP, new_order, signed_callback};

fn result(tx_no: &str, result: &str) -> Value {
    json!({ "tx_no": tx_no, "amount": 1000, "currency": "CNY", "result": result })
}

#[tokio::test]
async fn a_signed_callback_settles_the_recharge_and_its_result_is_published() {
    let service = Harness::start().await;
    for (told, failure, shown) in [
        ("succeeded", None, Value::Null),
        ("failed", Some("余额不足"), json!("余额不足")),
        ("failed", None, json!("the channel gave no reason")),
        ("closed", None, Value::Null),
    ] {
        let tx_no = service.pending(&format!("{told}-{}", failure.is_some())).await;
        service.clock.advance(std::time::Duration::from_secs(1));
        let mut body = result(&tx_no, told);
        if let Some(failure) = failure {
            body["failure"] = failure.into();
        }
        let taken = service.call_back(&body).await;
        assert_eq!((taken.status, taken.body), (200, json!({ "tx_no": tx_no, "status": told })));
        let recharge = service.get(SHOP, &format!("/v1/payresult/{tx_no}")).await.body;
        assert_eq!((&recharge["status"], &recharge["failure"]), (&json!(told), &shown));
        let event = service.outbox().await.pop().expect("its event");
        assert_eq!(event.kind, format!("recharge.{told}"));
        assert_eq!(serde_json::from_str::<Value>(event.data.get()).expect("JSON"), recharge);
    }
}

#[tokio::test]
async fn the_same_result_again_is_answered_alike_and_changes_nothing() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    let body = result(&tx_no, "succeeded");
    let first = service.call_back(&body).await;
    let before = service.everything().await;
    service.clock.advance(std::time::Duration::from_mins(10));
    let again = service.call_back(&body).await;
    assert_eq!((first.status, again.status, again.body), (200, 200, first.body));
    assert_eq!(service.everything().await, before);
}

#[tokio::test]
async fn a_result_that_contradicts_the_first_is_refused_and_changes_nothing() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    service.call_back(&result(&tx_no, "failed")).await;
    let before = service.everything().await;
    for contradiction in ["succeeded", "closed"] {
        let refused = service.call_back(&result(&tx_no, contradiction)).await;
        assert_eq!((refused.status, &refused.body["type"]), (409, &json!("urn:ringback:problem:conflict")));
    }
    assert_eq!(service.everything().await, before);
}

#[tokio::test]
async fn of_contradicting_results_told_at_once_one_is_taken_and_published_once() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    let bodies = ["succeeded", "closed"].map(|told| result(&tx_no, told));
    let answers = join_all((0..32).map(|index| service.call_back(&bodies[index % 2]))).await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((taken, refused), (16, 16));
    assert_eq!(service.outbox().await.len(), 1);
}

#[tokio::test]
async fn a_callback_that_nobody_signed_in_time_is_refused() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    let before = service.everything().await;
    let body = result(&tx_no, "succeeded");
    let now = runtime::Clock::now(&service.clock).timestamp();
    let with = |header: &'static str, value: &str| {
        let mut request = signed_callback(&body, now);
        request.headers_mut().insert(header, HeaderValue::from_str(value).expect("a header"));
        request
    };
    let without = |header: &str| {
        let mut request = signed_callback(&body, now);
        request.headers_mut().remove(header);
        request
    };
    let (mut parts, _) = signed_callback(&body, now).into_parts();
    parts.headers.remove("content-length");
    let changed = Request::from_parts(parts, Body::from(result(&tx_no, "closed").to_string()));
    for request in [
        with("webhook-signature", "v1,AAAA"),
        with("webhook-signature", "nonsense"),
        with("webhook-id", "msg_2"),
        with("webhook-timestamp", &(now + 1).to_string()),
        with("webhook-timestamp", "now"),
        without("webhook-id"),
        without("webhook-timestamp"),
        without("webhook-signature"),
        signed_callback(&body, now - 301),
        signed_callback(&body, now + 301),
        changed,
    ] {
        let refused = service.send(request).await;
        assert_eq!(
            (refused.status, &refused.body["type"]),
            (401, &json!("urn:ringback:problem:unauthorized"))
        );
    }
    assert_eq!(service.everything().await, before);
    assert_eq!(service.send(signed_callback(&body, now - 300)).await.status, 200);
}

#[tokio::test]
async fn what_the_channel_says_must_agree_with_the_recharge() {
    let service = Harness::start().await;
    let tx_no = service.pending("order-1").await;
    let instant = service.create(SHOP, &new_order("order-2", &json!({}))).await.body;
    let alipay = service.create(SHOP, &new_order("order-3", &json!({ "channel": "alipay" }))).await.body;
    let before = service.everything().await;
    let good = result(&tx_no, "succeeded");
    for (field, value, status) in [
        ("amount", json!(1001), 422),
        ("currency", json!("USD"), 422),
        ("tx_no", json!("01900000-0000-7000-8000-000000000000"), 404),
        ("tx_no", instant["tx_no"].clone(), 404),
        ("tx_no", alipay["tx_no"].clone(), 404),
        ("tx_no", json!("1"), 422),
        ("amount", json!("1000"), 422),
        ("amount", json!(0), 422),
        ("amount", json!(1.5), 422),
        ("currency", json!("yuan"), 422),
        ("result", json!("pending"), 422),
        ("result", json!("paid"), 422),
        ("failure", json!("but why"), 422),
        ("tip", json!(1), 422),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = service.call_back(&body).await;
        assert_eq!(refused.status, status, "{field} {value} {}", refused.body);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        if status == 422 {
            assert_eq!(refused.body["errors"][0]["field"], field);
        }
    }
    let mut long = result(&tx_no, "failed");
    long["failure"] = "x".repeat(257).into();
    assert_eq!(service.call_back(&long).await.status, 422);
    assert_eq!(service.everything().await, before);
}

#[tokio::test]
async fn channels_without_a_gateway_take_no_callbacks() {
    let service = Harness::with_sandbox(None).await;
    for channel in ["sandbox", "alipay", "wechatpay", "instant", "cash"] {
        let request = Request::post(format!("/v1/callbacks/{channel}")).body(Body::from("{}"));
        let refused = service.send(request.expect("a request")).await;
        assert_eq!((refused.status, &refused.body["type"]), (404, &json!("urn:ringback:problem:not-found")));
    }
}
