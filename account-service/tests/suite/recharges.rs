//! Recharges asked for here.

use std::sync::Arc;

use account_service::domain::{Recharge, RequestState, Status};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::database::Database;
use crate::support::pay_service::{client, taking};
use crate::support::service::World;
use crate::support::{MERCHANT, as_json, balance, open_account, paid, tx};

const PATH: &str = "/v1/accounts/A/recharges";

async fn asking(database: Database, server: &MockServer) -> World {
    let world = World::asking(database, Arc::new(client(&server.uri()))).await;
    open_account(&*world.store, "A").await;
    world
}

async fn state(world: &World, order: Uuid) -> RequestState {
    world.store.request(order).await.expect("the store answers").expect("recorded").state
}

pub async fn a_recharge_is_asked_for_and_credited_by_its_notification(database: Database) {
    let server = taking(tx(1), "succeeded").await;
    let world = asking(database, &server).await;
    let wish = json!({ "amount": 100, "attach": "für dich\n" });
    let answer = world.post(PATH, &wish).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let order: Uuid = answer.body["merchant_order_no"].as_str().expect("text").parse().expect("a uuid");
    assert_eq!(order.get_version_num(), 7);
    let expected = json!({ "tx_no": tx(1), "status": "succeeded", "merchant_order_no": order, "account_no": "A",
                           "amount": 100, "currency": "CNY", "channel": "instant", "attach": "für dich\n",
                           "created_at": "2026-01-01T00:00:00Z" });
    assert_eq!(answer.body, expected);
    let asked: Value = server.received_requests().await.expect("recorded")[0].body_json().expect("JSON");
    assert_eq!(
        asked,
        json!({ "merchant_order_no": order, "account_no": "A", "amount": 100, "currency": "CNY",
                              "channel": "instant", "attach": "für dich\n" })
    );
    assert_eq!(balance(&*world.store, "A").await, 0, "the result comes by notification");
    let result = as_json(&Recharge { merchant_order_no: order.to_string(), ..paid(tx(1), "A", 100) });
    assert_eq!(world.notify("event-1", "recharge.succeeded", &result).await.status, 200);
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
    let none = world.post("/v1/accounts/nobody/recharges", &wish).await;
    assert_eq!(none.status, 404);
}

pub async fn a_notification_settles_a_request_whose_answer_was_lost(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let lost = world.post(PATH, &json!({ "amount": 100 })).await;
    let order = lost.named_order();
    let result = as_json(&Recharge { merchant_order_no: order.to_string(), ..paid(tx(1), "A", 100) });
    assert_eq!(world.notify("event-1", "recharge.succeeded", &result).await.status, 200);
    let known = RequestState::Known { tx_no: tx(1), status: Status::Succeeded };
    assert_eq!(state(&world, order).await, known);
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
}

pub async fn what_pay_service_refuses_is_refused_and_leaves_nothing(database: Database) {
    let server = MockServer::start().await;
    let refusal = json!({ "type": "urn:ringback:problem:invalid", "title": "", "status": 422, "detail": "",
                          "errors": [{ "field": "channel", "message": "must be instant or sandbox" }] });
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(422).set_body_json(refusal))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let ours = json!({ "status": 422, "errors": [{ "field": "merchant", "message": "is required" }] });
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(422).set_body_json(ours))
        .mount(&server)
        .await;
    let world = asking(database, &server).await;
    let wish = json!({ "amount": 100, "channel": "telepathy" });
    let answer = world.post(PATH, &wish).await;
    assert_eq!((answer.status, &*answer.content_type), (422, "application/problem+json"));
    assert_eq!(
        answer.body["errors"][0],
        json!({ "field": "channel", "message": "must be instant or sandbox" })
    );
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
    let not_the_callers_fault = world.post(PATH, &wish).await;
    assert_eq!(not_the_callers_fault.status, 503, "{not_the_callers_fault:?}");
}

pub async fn an_answer_about_another_request_is_unknown(database: Database) {
    let server = MockServer::start().await;
    let other = as_json(&paid(tx(1), "A", 100));
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(201).set_body_json(other))
        .mount(&server)
        .await;
    let world = asking(database, &server).await;
    let answer = world.post(PATH, &json!({ "amount": 100 })).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let order = answer.named_order();
    assert_eq!(state(&world, order).await, RequestState::Unknown);
    let kept = world.get("/v1/exceptions").await.body["items"][0].clone();
    assert_eq!((&kept["kind"], &kept["source"]), (&json!("wrong_answer"), &json!("request")));
    assert_eq!((&kept["tx_no"], &kept["merchant_order_no"]), (&json!(null), &json!(order)));
    assert_eq!(kept["received"], as_json(&paid(tx(1), "A", 100)));
    let path = format!("/v1/exceptions/{}/resolve", kept["id"].as_str().expect("an id"));
    let credit = world.post(&path, &json!({ "action": "credit", "reason": "why not" })).await;
    assert_eq!((credit.status, &credit.body["errors"][0]["field"]), (422, &json!("action")));
}

/// Law 9: neither a success nor a failure, but something for a person to look at.
pub async fn an_answer_that_contradicts_the_request_is_unknown_and_kept(database: Database) {
    let server = MockServer::start().await;
    let answer = |request: &wiremock::Request| {
        let mut taken: Value = request.body_json().expect("JSON");
        taken["tx_no"] = json!(tx(1));
        taken["merchant"] = json!(MERCHANT);
        taken["status"] = json!("succeeded");
        taken["amount"] = json!(101);
        ResponseTemplate::new(201).set_body_json(taken)
    };
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let world = asking(database, &server).await;
    let answer = world.post(PATH, &json!({ "amount": 100 })).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let order = answer.named_order();
    assert_eq!(state(&world, order).await, RequestState::Unknown);
    let kept = world.get("/v1/exceptions").await.body["items"][0].clone();
    assert_eq!((&kept["kind"], &kept["source"]), (&json!("contradicts_request"), &json!("request")));
    assert_eq!((&kept["tx_no"], &kept["merchant_order_no"]), (&json!(tx(1)), &json!(order)));
    assert_eq!(
        (&kept["received"]["amount"], &kept["recorded"]["request"]["amount"]),
        (&json!(101), &json!(100))
    );
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 1]);
}
