//! Publishing events by HTTP.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use runtime::Clock;
use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::harness::{Answer, BANK, Harness, OPERATOR, SHOP};

const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

async fn send(harness: &Harness, key: &str, kind: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post("/v1/events")
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, kind);
    harness.send(request.body(body.into()).expect("a request")).await
}

async fn publish(harness: &Harness, key: &str, event: &Value) -> Answer {
    let kind = if event.is_array() { BATCH } else { ONE };
    send(harness, key, kind, event.to_string()).await
}

fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/orders", "type": "order.paid", "subject": "order-7",
        "time": "2026-01-01T00:00:00Z", "data": { "amount": 1000, "currency": "CNY" } })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

/// The ids of the events that have a notification, newest first.
async fn notified(harness: &Harness, key: &str) -> Vec<String> {
    let list = harness.get(key, "/v1/notifications?limit=200").await.answered(200);
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["event_id"].as_str().expect("an id").to_owned()).collect()
}

async fn subscribe(harness: &Harness, key: &str, url: &str) -> Value {
    let body = json!({ "name": "a", "url": url, "event_types": ["*"] });
    harness.post(key, "/v1/subscriptions", body).await.answered(201)
}

#[tokio::test]
async fn an_event_of_a_merchant_is_kept_delivered_and_known_when_it_comes_again() {
    let (harness, receiver) = (Harness::new().await, MockServer::start().await);
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&receiver).await;
    subscribe(&harness, SHOP, &receiver.uri()).await;
    let kept = |result: &str, new: u32| {
        json!({ "events": [{ "id": "order-7", "source": "/merchants/shop/orders", "result": result }],
            "new": new, "known": 1 - new })
    };
    let first = publish(&harness, SHOP, &event("order-7")).await.answered(202);
    assert_eq!(first, kept("new", 1));
    let stamped_again = with(event("order-7"), "time", json!("2026-01-01T09:00:00+08:00"));
    let own_source = with(event("order-7"), "source", json!("/merchants/shop/orders"));
    for again in
        [event("order-7"), stamped_again, own_source, with(event("order-7"), "merchant", json!("shop"))]
    {
        assert_eq!(publish(&harness, SHOP, &again).await.answered(202), kept("known", 0));
    }
    assert_eq!(notified(&harness, SHOP).await, ["order-7"]);
    assert!(notified(&harness, BANK).await.is_empty());
    let detail = harness.get(SHOP, "/v1/notifications").await.answered(200);
    let path = format!("/v1/notifications/{}", detail["items"][0]["id"].as_str().expect("an id"));
    let shown = harness.get(SHOP, &path).await.answered(200)["event"].clone();
    assert_eq!((&shown["merchant"], &shown["source"]), (&json!("shop"), &json!("/merchants/shop/orders")));
    assert_eq!(shown["data"], event("order-7")["data"]);
    let webhook = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Some(request) = receiver.received_requests().await.and_then(|mut all| all.pop()) {
                return request;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(webhook.await.expect("a webhook").headers["webhook-id"], "order-7");
}

#[tokio::test]
async fn the_operator_says_whose_an_event_is_or_that_it_is_nobodys() {
    let harness = Harness::new().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    for (id, merchant) in [("a", json!("shop")), ("b", json!("bank")), ("c", Value::Null)] {
        let mut event = with(event(id), "merchant", merchant.clone());
        if merchant.is_null() {
            event.as_object_mut().expect("an object").remove("merchant");
        }
        let kept = publish(&harness, OPERATOR, &event).await.answered(202);
        assert_eq!(kept["events"][0]["source"], "/orders");
    }
    assert_eq!(notified(&harness, SHOP).await, ["a"]);
}

#[tokio::test]
async fn a_batch_is_kept_whole_and_says_which_were_known() {
    let harness = Harness::new().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    publish(&harness, SHOP, &event("b")).await.answered(202);
    let batch = json!([event("a"), event("b"), event("c"), event("a")]);
    let answer = publish(&harness, SHOP, &batch).await.answered(202);
    let results: Vec<_> =
        answer["events"].as_array().expect("a list").iter().map(|one| &one["result"]).collect();
    assert_eq!(results, ["new", "known", "new", "known"]);
    assert_eq!((&answer["new"], &answer["known"]), (&json!(2), &json!(2)));
    let many: Vec<Value> = (0..500).map(|n| event(&format!("many-{n}"))).collect();
    assert_eq!(publish(&harness, SHOP, &json!(many)).await.answered(202)["new"], 500);
    assert_eq!(publish(&harness, SHOP, &json!(many)).await.answered(202)["known"], 500);
}

#[tokio::test]
async fn a_batch_with_a_known_identity_and_other_content_is_refused_and_nothing_of_it_is_kept() {
    let harness = Harness::new().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    publish(&harness, SHOP, &event("b")).await.answered(202);
    let other = with(event("b"), "data", json!({ "amount": 1001 }));
    let uuid = harness.id().to_string();
    for (batch, field) in [
        (json!([event("a"), other, event(&uuid)]), "[1].id"),
        (json!([event("a"), event("c"), with(event("a"), "subject", json!("else"))]), "[2].id"),
        (json!([event("b"), event("c"), with(event("b"), "type", json!("order.lost"))]), "[2].id"),
    ] {
        publish(&harness, SHOP, &batch).await.refused(409, Some(field));
    }
    publish(&harness, SHOP, &other).await.refused(409, Some("id"));
    assert_eq!(notified(&harness, SHOP).await, ["b"]);
    let all = publish(&harness, SHOP, &json!([event("a"), event("c"), event(&uuid)])).await.answered(202);
    assert_eq!(all["new"], 3);
    // What another merchant calls the same is another event.
    assert_eq!(publish(&harness, BANK, &other).await.answered(202)["new"], 1);
}

#[tokio::test]
async fn nobody_speaks_for_a_service_or_for_another_merchant() {
    let harness = Harness::new().await;
    subscribe(&harness, OPERATOR, "https://shop.example").await;
    for key in [OPERATOR, SHOP] {
        for kind in ["recharge.succeeded", "recharge.x", "ringback.subscription.disabled", "ringback.test"] {
            let wrong = with(event("a"), "type", json!(kind));
            publish(&harness, key, &wrong).await.refused(422, Some("type"));
            publish(&harness, key, &json!([event("b"), wrong])).await.refused(422, Some("[1].type"));
        }
    }
    publish(&harness, SHOP, &with(event("a"), "merchant", json!("bank")))
        .await
        .refused(422, Some("merchant"));
    for source in ["/pay-service", "/merchants/bank/orders", "/notifier"] {
        let id = source.trim_matches('/').replace('/', "-");
        let kept = publish(&harness, SHOP, &with(event(&id), "source", json!(source))).await.answered(202);
        let kept = kept["events"][0]["source"].as_str().expect("a source").to_owned();
        assert!(kept.starts_with("/merchants/shop/"), "{kept}");
    }
    assert_eq!(notified(&harness, OPERATOR).await.len(), 3);
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_place_and_field_and_nothing_is_kept() {
    let harness = Harness::new().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    let long = "x".repeat(300);
    for (field, value, named) in [
        ("specversion", json!("0.3"), "specversion"),
        ("specversion", Value::Null, "specversion"),
        ("id", json!(""), "id"),
        ("id", json!("a.b"), "id"),
        ("id", json!(7), "id"),
        ("source", json!(long), "source"),
        ("source", json!("x".repeat(250)), "source"),
        ("type", json!("order paid"), "type"),
        ("time", json!("yesterday"), "time"),
        ("time", Value::Null, "time"),
        ("subject", json!("a\u{0}b"), "subject"),
        ("datacontenttype", json!("text/plain"), "datacontenttype"),
        ("data_base64", json!("AA=="), "data"),
    ] {
        let wrong = with(event("a"), field, value);
        publish(&harness, SHOP, &wrong).await.refused(422, Some(named));
        let batch = json!([event("b"), wrong, 7]);
        let answer = publish(&harness, SHOP, &batch).await;
        let errors: Vec<_> = answer.body["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|one| one["field"].clone())
            .collect();
        assert_eq!(errors, [json!(format!("[1].{named}")), json!("[2]")], "{}", answer.body);
        answer.refused(422, None);
    }
    let mut nameless = event("a");
    nameless.as_object_mut().expect("an object").remove("id");
    publish(&harness, SHOP, &nameless).await.refused(422, Some("id"));
    for (kind, body, status, field) in [
        (ONE, "{".to_owned(), 400, None),
        (ONE, "[]".to_owned(), 422, Some("body")),
        (ONE, "{}".to_owned(), 422, Some("specversion")),
        (BATCH, "[]".to_owned(), 422, Some("body")),
        (BATCH, event("a").to_string(), 422, Some("body")),
        (BATCH, json!(vec![event("a"); 501]).to_string(), 422, Some("body")),
        ("application/json", event("a").to_string(), 415, None),
        ("text/plain", event("a").to_string(), 415, None),
        (ONE, with(event("a"), "data", json!("x".repeat(70_000))).to_string(), 413, None),
        (
            BATCH,
            json!([event("b"), with(event("a"), "data", json!("x".repeat(70_000)))]).to_string(),
            422,
            Some("[1]"),
        ),
        (BATCH, json!([with(event("a"), "data", json!("x".repeat(1 << 20)))]).to_string(), 413, None),
    ] {
        send(&harness, SHOP, kind, body).await.refused(status, field);
    }
    send(&harness, "unknown", ONE, event("a").to_string()).await.refused(401, None);
    assert!(notified(&harness, SHOP).await.is_empty());
    let charset = format!("{ONE}; charset=utf-8");
    send(&harness, SHOP, &charset, event("a").to_string()).await.answered(202);
}

#[tokio::test]
async fn an_event_without_a_time_is_of_the_time_of_its_request_and_the_same_later() {
    let harness = Harness::new().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    let mut timeless = event("a");
    timeless.as_object_mut().expect("an object").remove("time");
    assert_eq!(publish(&harness, SHOP, &timeless).await.answered(202)["new"], 1);
    harness.clock.advance(Duration::from_hours(50));
    assert_eq!(publish(&harness, SHOP, &timeless).await.answered(202)["known"], 1);
    assert_eq!(notified(&harness, SHOP).await, ["a"]);
}

#[tokio::test]
async fn an_event_from_before_what_was_removed_is_refused_and_the_batch_with_it() {
    let mut harness = Harness::new().await;
    let subscription = subscribe(&harness, SHOP, "https://shop.example").await;
    publish(&harness, SHOP, &event("old")).await.answered(202);
    let path = super::harness::path_of(&subscription);
    harness.call(SHOP, "DELETE", &path, None).await.answered(204);
    harness.run_upkeep().await;
    harness.clock.advance(Duration::from_hours(24 * 92));
    harness.run_upkeep().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    let now = json!(harness.clock.now().to_rfc3339());
    let batch = json!([with(event("new"), "time", now), event("unknown")]);
    publish(&harness, SHOP, &batch).await.refused(422, Some("[1].time"));
    assert!(notified(&harness, SHOP).await.is_empty());
}

#[tokio::test]
async fn requests_at_the_same_time_are_each_kept_whole_or_refused_for_their_own_events() {
    let harness = Harness::new().await;
    subscribe(&harness, SHOP, "https://shop.example").await;
    publish(&harness, SHOP, &event("taken")).await.answered(202);
    let other = with(event("taken"), "subject", json!("else"));
    let requests: Vec<Value> = (0..40)
        .map(|n| {
            let last = if n % 4 == 0 { other.clone() } else { event("shared") };
            json!([event(&format!("own-{n}")), last])
        })
        .collect();
    let sent = requests.iter().map(|request| publish(&harness, SHOP, request));
    let answers = futures_util::future::join_all(sent).await;
    let mut shared_was_new = 0;
    for (n, answer) in answers.into_iter().enumerate() {
        if n % 4 == 0 {
            answer.refused(409, Some("[1].id"));
            continue;
        }
        let answer = answer.answered(202);
        assert_eq!(answer["events"][0]["result"], "new", "{n}");
        shared_was_new += usize::from(answer["events"][1]["result"] == "new");
    }
    assert_eq!(shared_was_new, 1);
    assert_eq!(notified(&harness, SHOP).await.len(), 2 + 30);
}
