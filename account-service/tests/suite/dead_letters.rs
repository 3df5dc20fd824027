//! What the queue has given up: looked at by the operator, and put back.

use std::sync::Arc;
use std::time::Duration;

use account_service::ResultQueue;
use axum::body::Body;
use axum::http::Method;
use messaging::Ladder;
use serde_json::{Value, json};

use crate::support::broken_broker::BrokenBroker;
use crate::support::database::Database;
use crate::support::queue::{WithQueue, event};
use crate::support::service::{OPERATOR, OWN, SHOP, World, request};
use crate::support::{open_account, paid, pay_service, tx};

const LETTERS: &str = "/v1/dead-letters";

impl WithQueue {
    /// One result whose account never came, at the end of its ladder.
    async fn with_a_dead_letter(database: Database) -> Self {
        let mut queue = Self::new(database).await;
        queue.publish(&[paid(tx(1), "late", 7)]).await;
        queue.climb_to_the_end().await;
        queue
    }

    /// Lets every step of the ladder pass.
    async fn climb_to_the_end(&mut self) {
        for step in [0, 1, 5] {
            self.clock.advance(Duration::from_secs(step));
            self.intake.run_once().await.expect("a round");
            self.intake.run_once().await.expect("a round");
        }
    }

    async fn listed(&self) -> Vec<Value> {
        let answer = self.world.get(LETTERS).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["items"].as_array().expect("a list").clone()
    }

    async fn requeue(&self, letter: &Value, body: &str) -> (u16, Value) {
        let path = format!("{LETTERS}/{}/requeue", letter["id"].as_str().expect("an id"));
        let answer =
            self.world.call(request(Method::POST, &path, OPERATOR, Body::from(body.to_owned()))).await;
        (answer.status, answer.body)
    }
}

pub async fn a_dead_letter_is_listed_and_shown_with_all_that_is_known_of_it(database: Database) {
    let queue = WithQueue::with_a_dead_letter(database).await;
    let listed = queue.listed().await;
    let sent = event(&paid(tx(1), "late", 7), 1);
    assert_eq!(listed.len(), 1);
    for (field, expected) in [
        ("event_id", json!(sent.id)),
        ("event_type", json!("recharge.succeeded")),
        ("subject", json!(tx(1))),
        ("merchant", json!("account-service")),
        ("reason", json!("there is no such account")),
        ("attempts", json!(3)),
        ("first_published_at", json!("2026-01-01T00:00:00Z")),
        ("dead_lettered_at", json!("2026-01-01T00:00:06Z")),
        ("size", json!(sent.to_json().len())),
    ] {
        assert_eq!(listed[0][field], expected, "{field}");
    }
    let path = format!("{LETTERS}/{}", listed[0]["id"].as_str().expect("an id"));
    let shown = queue.world.get(&path).await;
    assert_eq!((shown.status, &shown.body["id"]), (200, &listed[0]["id"]), "{shown:?}");
    assert_eq!(shown.body["event"], serde_json::from_slice::<Value>(&sent.to_json()).expect("JSON"));
    assert_eq!((&shown.body["body"], &shown.body["requeues"]), (&Value::Null, &json!([])));
    assert_eq!(queue.listed().await, listed, "looking changes nothing");
}

pub async fn a_dead_letter_whose_reason_no_database_would_hold_is_requeued(database: Database) {
    let queue = WithQueue::with_a_dead_letter(database).await;
    queue.give_reason("a\0b").await;
    let letter = queue.listed().await.remove(0);
    assert_eq!(letter["reason"], "a\u{FFFD}b");
    let (status, answer) = queue.requeue(&letter, "{}").await;
    assert_eq!((status, &answer["given_up_for"]), (200, &json!("a\u{FFFD}b")), "{answer}");
}

pub async fn a_result_that_no_database_would_hold_stops_no_other(database: Database) {
    let mut queue = WithQueue::new(database).await;
    let mut bad = paid(tx(1), "A", 7);
    "a\0b".clone_into(&mut bad.merchant_order_no);
    queue.publish(&[bad, paid(tx(2), "A", 8)]).await;
    queue.rounds_until_credits(1).await;
    let dead = queue.rounds_until_dead(1).await;
    let reason = dead[0].history.reason.clone().expect("a reason");
    assert!(reason.contains("merchant_order_no"), "{reason}");
}

pub async fn a_dead_letter_with_a_byte_order_mark_is_shown_and_credited_when_it_is_requeued(
    database: Database,
) {
    let mut queue = WithQueue::new(database).await;
    let marked = [b"\xEF\xBB\xBF", &event(&paid(tx(1), "late", 7), 1).to_json()[..]].concat();
    queue.post(&marked).await;
    queue.climb_to_the_end().await;
    let letter = queue.listed().await.remove(0);
    assert_eq!(letter["size"], marked.len());
    let shown = queue.world.get(&format!("{LETTERS}/{}", letter["id"].as_str().expect("an id"))).await;
    assert_eq!(
        (shown.status, &shown.body["event"]["type"]),
        (200, &json!("recharge.succeeded")),
        "{shown:?}"
    );
    open_account(&*queue.world.store, "late").await;
    assert_eq!(queue.requeue(&letter, "{}").await.0, 200);
    queue.rounds_until_credits(1).await;
}

pub async fn a_requeued_dead_letter_is_a_fresh_result_and_it_is_kept_who_asked(database: Database) {
    let mut queue = WithQueue::with_a_dead_letter(database).await;
    let letter = queue.listed().await.remove(0);
    open_account(&*queue.world.store, "late").await;
    let (status, requeue) = queue.requeue(&letter, r#"{"reason":"the account is open now"}"#).await;
    assert_eq!(status, 200, "{requeue}");
    for (field, expected) in [
        ("dead_letter_id", &letter["id"]),
        ("event_id", &letter["event_id"]),
        ("given_up_for", &json!("there is no such account")),
        ("attempts", &json!(3)),
        ("asked_by", &json!("operator")),
        ("reason", &json!("the account is open now")),
    ] {
        assert_eq!(&requeue[field], expected, "{field}");
    }
    assert!(requeue["asked_at"].is_string() && requeue["requeued_at"].is_string(), "{requeue}");
    assert!(queue.listed().await.is_empty());
    queue.rounds_until_credits(1).await;
    assert_eq!(queue.world.database.totals().await, [2, 7, 1, 7, 0]);
    assert_eq!(queue.requeue(&letter, "").await.0, 404, "it is there no more");
    let kept = queue.world.get("/v1/requeues").await.body;
    assert_eq!(kept["items"], json!([requeue]));
}

pub async fn a_letter_requeued_in_vain_tells_of_it(database: Database) {
    let mut queue = WithQueue::with_a_dead_letter(database).await;
    let first = queue.listed().await.remove(0);
    assert_eq!(queue.requeue(&first, "").await.0, 200, "a reason is a courtesy");
    queue.climb_to_the_end().await;
    let again = queue.listed().await.remove(0);
    assert_ne!(again["id"], first["id"]);
    assert_eq!((&again["attempts"], &again["first_published_at"]), (&json!(3), &first["first_published_at"]));
    let shown = queue.world.get(&format!("{LETTERS}/{}", again["id"].as_str().expect("an id"))).await.body;
    assert_eq!(shown["requeues"][0]["dead_letter_id"], first["id"]);
    assert_eq!(shown["requeues"][0]["reason"], Value::Null);
}

pub async fn what_is_no_event_is_shown_as_text(database: Database) {
    let mut queue = WithQueue::new(database).await;
    queue.post(b"hello \xff").await;
    queue.rounds_until_dead(1).await;
    let letter = queue.listed().await.remove(0);
    assert!(letter["reason"].as_str().expect("a reason").contains("not a CloudEvents"), "{letter}");
    assert_eq!((&letter["event_id"], &letter["attempts"]), (&Value::Null, &json!(1)));
    let shown = queue.world.get(&format!("{LETTERS}/{}", letter["id"].as_str().expect("an id"))).await.body;
    assert_eq!((&shown["event"], &shown["body"]), (&Value::Null, &json!("hello \u{fffd}")));
}

pub async fn only_the_operator_sees_and_requeues_dead_letters(database: Database) {
    let queue = WithQueue::with_a_dead_letter(database).await;
    let letter = format!("{LETTERS}/{}", queue.listed().await[0]["id"].as_str().expect("an id"));
    let requeue = format!("{letter}/requeue");
    for (key, status) in [("", 401), ("wrong", 401), (OWN, 403), (SHOP, 403)] {
        for (method, path) in [
            (Method::GET, LETTERS),
            (Method::GET, &letter),
            (Method::POST, &requeue),
            (Method::GET, "/v1/requeues"),
        ] {
            let answer = queue.world.call(request(method.clone(), path, key, Body::empty())).await;
            assert_eq!(answer.status, status, "{method} {path} with {key:?}");
        }
    }
    assert_eq!(queue.listed().await.len(), 1);
}

pub async fn a_service_without_a_queue_has_no_dead_letters(database: Database) {
    let world = World::new(database).await;
    let answer = world.get(LETTERS).await;
    assert_eq!((answer.status, &answer.body["items"]), (200, &json!([])));
}

pub async fn a_broker_that_is_down_is_told_and_nothing_is_done(database: Database) {
    let pay_service = Arc::new(pay_service::client("http://127.0.0.1:9"));
    let queue = ResultQueue { broker: Arc::new(BrokenBroker), ladder: Ladder::default() };
    let world = World::with(database, pay_service, Some(queue)).await;
    let letter = format!("{LETTERS}/{}", tx(1));
    let requeue = format!("{letter}/requeue");
    for (method, path) in [(Method::GET, LETTERS), (Method::GET, &letter), (Method::POST, &requeue)] {
        let answer = world.call(request(method, path, OPERATOR, Body::empty())).await;
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["field"]),
            (503, &json!("broker")),
            "{answer:?}"
        );
        assert!(answer.retry_after.is_some());
    }
    assert_eq!(world.get("/v1/requeues").await.body["items"], json!([]));
}
