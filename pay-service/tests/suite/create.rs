//! Taking orders.

use std::sync::Arc;

use futures_util::future::join_all;
use messaging::Relay;
use pay_service::domain::StatusName;
use pay_service::metrics::Metrics;
use pay_service::usecases::Tools;
use pay_service::usecases::create_recharge::{CreateRecharges, Created};
use runtime::background::Worker;
use runtime::batcher::HandleBatch;
use runtime::testing::manual_sources;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::support::broker::TestBroker;
use crate::support::harness::{Harness, OPERATOR, OTHER, SHOP, new_order};
use crate::support::order;

#[tokio::test]
async fn an_instant_recharge_is_answered_with_its_result_and_published_with_the_same() {
    let mut service = Harness::start().await;
    let created = service.create(SHOP, &new_order("order-1", &json!({ "attach": "长 \"x\"" }))).await;
    assert_eq!(created.status, 201);
    let tx_no = created.body["tx_no"].as_str().expect("a number");
    let expected = json!({
        "tx_no": tx_no, "merchant": "shop", "merchant_order_no": "order-1", "account_no": "6222",
        "amount": 1000, "currency": "CNY", "channel": "instant", "status": "succeeded", "attach": "长 \"x\"",
        "created_at": "2026-01-01T00:00:00Z", "settled_at": "2026-01-01T00:00:00Z", "failure": null,
    });
    assert_eq!(created.body, expected);
    assert_eq!(created.headers["location"], format!("/v1/payresult/{tx_no}").as_str());
    service.relay.run_once().await.expect("published");
    let published = service.broker.published();
    assert_eq!(published.len(), 1);
    let event: Value = serde_json::from_slice(&published[0].to_json()).expect("JSON");
    assert_eq!(event["type"], "recharge.succeeded");
    assert_eq!((&event["source"], &event["subject"]), (&json!("/pay-service"), &json!(tx_no)));
    assert_eq!((&event["merchant"], &event["time"]), (&json!("shop"), &expected["settled_at"]));
    assert_eq!(event["data"], expected);
    assert_eq!(service.outbox().await.len(), 0);
}

#[tokio::test]
async fn every_other_channel_leaves_it_pending_and_tells_nothing() {
    let service = Harness::start().await;
    for channel in ["sandbox", "alipay", "wechatpay"] {
        let created = service.create(SHOP, &new_order(channel, &json!({ "channel": channel }))).await;
        assert_eq!((created.status, &created.body["status"]), (201, &json!("pending")));
        assert_eq!(created.body["settled_at"], Value::Null);
    }
    assert_eq!(service.outbox().await.len(), 0);
}

#[tokio::test]
async fn the_same_order_again_is_answered_with_its_first_recharge() {
    let service = Harness::start().await;
    let order = new_order("order-1", &json!({ "attach": "x" }));
    let first = service.create(SHOP, &order).await;
    service.clock.advance(std::time::Duration::from_mins(1));
    let spelled_out = new_order(
        "order-1",
        &json!({ "attach": "x", "currency": "CNY", "channel": "instant", "merchant": "shop" }),
    );
    for (key, order) in [(SHOP, &order), (SHOP, &spelled_out), (OPERATOR, &spelled_out)] {
        let again = service.create(key, order).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
    }
    assert_eq!(service.outbox().await.len(), 1);
}

#[tokio::test]
async fn a_retry_that_contradicts_the_first_order_is_refused_and_changes_nothing() {
    let service = Harness::start().await;
    service.create(SHOP, &new_order("order-1", &json!({ "attach": "x" }))).await;
    let before = service.everything().await;
    for other in [
        json!({ "attach": "x", "account_no": "6223" }),
        json!({ "attach": "x", "amount": 1001 }),
        json!({ "attach": "x", "currency": "USD" }),
        json!({ "attach": "x", "channel": "sandbox" }),
        json!({ "attach": "y" }),
        json!({}),
    ] {
        let refused = service.create(SHOP, &new_order("order-1", &other)).await;
        assert_eq!(refused.status, 409, "{other}");
        assert_eq!(refused.body["type"], "urn:ringback:problem:conflict");
    }
    assert_eq!(service.everything().await, before);
}

#[tokio::test]
async fn two_merchants_may_use_the_same_order_number() {
    let service = Harness::start().await;
    let (one, two) = (new_order("order-1", &json!({})), new_order("order-1", &json!({ "amount": 7 })));
    assert_eq!(service.create(SHOP, &one).await.status, 201);
    assert_eq!(service.create(OTHER, &two).await.status, 201);
}

#[tokio::test]
async fn sixty_four_concurrent_retries_make_one_recharge_and_one_event() {
    let service = Harness::start().await;
    let order = new_order("order-1", &json!({}));
    let answers = join_all((0..64).map(|_| service.create(SHOP, &order))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[63], &statuses[..63]), (201, [200_u16; 63].as_slice()));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let (statement, events) = service.everything().await;
    assert_eq!((statement["items"].as_array().map(Vec::len), events.len()), (Some(1), 1));
}

#[tokio::test]
async fn orders_that_collide_inside_one_batch_are_judged_each_on_its_own() {
    let (backend, (sources, _)) = (Backend::fresh().await, manual_sources(1));
    let store = backend.store.clone();
    let relay =
        Relay::new(store.outbox(), Arc::new(TestBroker::default()), sources.clone()).handover(Arc::default());
    let tools = Tools { store, sources, relay, metrics: Metrics::new() };
    let mut create = CreateRecharges::new(tools);
    let orders = [("a", "instant"), ("a", "instant"), ("a", "sandbox"), ("b", "sandbox")];
    let batch = orders.map(|(order_no, channel)| order(order_no, channel)).to_vec();
    let answers: Vec<Created> =
        create.handle(batch).await.into_iter().map(|answer| answer.expect("stored")).collect();
    let Created::New(first) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(answers[1], Created::Before(first.clone()));
    assert_eq!(answers[2], Created::Contradicts(first.clone()));
    assert!(matches!(&answers[3], Created::New(other) if other.status.name() == StatusName::Pending));
}

#[tokio::test]
async fn the_operator_names_the_merchant_and_a_merchant_names_at_most_itself() {
    let service = Harness::start().await;
    for (key, merchant, status, owner) in [
        (OPERATOR, json!("newcomer"), 201, json!("newcomer")),
        (SHOP, json!("shop"), 201, json!("shop")),
        (OTHER, Value::Null, 201, json!("other")),
        (OPERATOR, Value::Null, 422, Value::Null),
        (OPERATOR, json!("no such name!"), 422, Value::Null),
        (SHOP, json!("other"), 403, Value::Null),
    ] {
        let answer = service.create(key, &new_order("order-1", &json!({ "merchant": merchant }))).await;
        assert_eq!((answer.status, &answer.body["merchant"]), (status, &owner), "{key} {merchant}");
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let service = Harness::start().await;
    service.create(SHOP, &new_order("order-1", &json!({}))).await;
    service.create(SHOP, &new_order("order-1", &json!({}))).await;
    service.pending("order-2").await;
    let metrics = service.get("", "/metrics").await.body;
    let metrics = metrics.as_str().expect("text");
    for line in [
        "ringback_recharges_total{status=\"succeeded\"} 1",
        "ringback_recharges_total{status=\"pending\"} 1",
        "ringback_recharges_total{status=\"failed\"} 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{metrics}");
    }
}
