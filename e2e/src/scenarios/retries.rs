//! Ringing until the subscriber answers.

use serde_json::{Value, json};

use super::foreign::order_paid;
use crate::harness::{
    Footing, PATIENCE, Publisher, Received, Reply, Stack, eventually, ladder_of_seconds, text,
};

const ACCOUNT: &str = "62220001";

/// Three attempts of one notification: each signed anew, with the same id and the same bytes.
pub async fn a_subscriber_that_refuses_twice_is_rung_until_it_accepts(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let moody = stack.subscribe("moody", &["recharge.*"], json!({})).await;
    let replies = [Reply::Status(500), Reply::Body(503, "come back later"), Reply::Body(200, "thank you")];
    stack.receiver.script(&moody.path, replies, Reply::Status(418));

    let tx_no = text(&stack.recharge(ACCOUNT, 100).await["tx_no"]);
    let notification = stack.until_notification(&moody.id, &tx_no, "delivered").await;

    let told = |field: &str| each_attempt(&notification, field);
    assert_eq!(told("number"), [1, 2, 3]);
    assert_eq!(told("http_status"), [500, 503, 200]);
    assert_eq!(told("outcome"), ["failed", "failed", "delivered"]);
    assert_eq!(told("response_excerpt")[1..], ["come back later", "thank you"]);
    let webhooks = stack.receiver.received(&moody.path);
    assert_eq!(webhooks.len(), 3);
    assert!(webhooks.iter().all(|webhook| webhook.is_signed_with(&moody.key)));
    assert_all_the_same(&webhooks);
    a_second_lies_between(&told("started_at"));
}

fn each_attempt(notification: &Value, field: &str) -> Vec<Value> {
    let attempts = notification["attempts"].as_array().expect("a notification has attempts");
    attempts.iter().map(|attempt| attempt[field].clone()).collect()
}

fn assert_all_the_same(webhooks: &[Received]) {
    for pair in webhooks.windows(2) {
        assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
        assert_eq!(pair[0].body, pair[1].body, "byte for byte");
    }
}

fn a_second_lies_between(starts: &[Value]) {
    let time =
        |value: &Value| -> chrono::DateTime<chrono::Utc> { text(value).parse().expect("an RFC 3339 time") };
    for pair in starts.windows(2) {
        let wait = time(&pair[1]) - time(&pair[0]);
        assert!(wait.num_milliseconds() >= 1_000, "the ladder says 1s, it was {wait}");
    }
}

/// A receiver that takes the request and stays silent; another one does not suffer from it.
pub async fn a_subscriber_that_never_answers_is_rung_until_its_ladder_is_exhausted(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let impatient = json!({ "ladder": ladder_of_seconds(2), "timeout": "1s" });
    let silent = stack.subscribe("silent", &["recharge.*"], impatient).await;
    let healthy = stack.subscribe("healthy", &["recharge.*"], json!({})).await;
    stack.receiver.script(&silent.path, [], Reply::Hang);

    let tx_no = text(&stack.recharge(ACCOUNT, 100).await["tx_no"]);
    stack.until_notification(&healthy.id, &tx_no, "delivered").await;
    let notification = stack.until_notification(&silent.id, &tx_no, "exhausted").await;

    assert_eq!(each_attempt(&notification, "number"), [1, 2, 3], "the first, and one for each step");
    assert_eq!(each_attempt(&notification, "http_status"), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(each_attempt(&notification, "failure_class"), ["timeout", "timeout", "timeout"]);
    assert_eq!(stack.receiver.received(&silent.path).len(), 3);
    assert_eq!(stack.receiver.received(&healthy.path).len(), 1);
}

/// Whatever way the address is written: no connection is made, and the attempt says why.
pub async fn an_address_that_must_not_be_reached_is_refused_at_the_connection(footing: Footing) {
    let stack = Stack::start(footing).await;
    let targets =
        ["http://10.0.0.1/", "http://169.254.169.254/metadata", "http://[fe80::1]/", "http://0x0a000001/"];
    for (number, url) in targets.iter().enumerate() {
        let subscription = json!({ "url": url, "ladder": ["1h"] });
        let private = stack.subscribe(&format!("private-{number}"), &["order.paid"], subscription).await;
        let subject = format!("order-{number}");
        Publisher::connect(&stack.footing).await.publish(&[order_paid(&subject, "{}")]).await;
        let attempted = eventually(&format!("{url} is attempted"), PATIENCE, async || {
            let found = stack.notifications(&private.id, &subject).await;
            found.into_iter().find(|one| one["attempt_count"] == 1)
        })
        .await;
        let notification = stack.notification(&attempted["id"]).await;
        assert_eq!(each_attempt(&notification, "failure_class"), ["blocked_target"], "{url}");
    }
}

/// What was given up is told to operators, and rung again at an operator's word, who and why being
/// kept.
pub async fn an_exhausted_notification_is_delivered_when_an_operator_resends_it(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let broken = stack.subscribe("broken", &["recharge.*"], json!({ "ladder": ["1s"] })).await;
    stack.receiver.script(&broken.path, [Reply::Status(500), Reply::Status(502)], Reply::Status(204));
    let alerts = stack.subscribe("alerts", &["ringback.*"], json!({})).await;
    let tx_no = text(&stack.recharge(ACCOUNT, 100).await["tx_no"]);
    let exhausted = stack.until_notification(&broken.id, &tx_no, "exhausted").await;
    assert_eq!(each_attempt(&exhausted, "http_status"), [500, 502]);
    let told = stack.receiver.wait_for(&alerts.path, 1).await[0].json();
    assert_eq!(told["type"], "ringback.notification.exhausted");
    assert_eq!(
        (&told["data"]["notification_id"], &told["data"]["subject"]),
        (&exhausted["id"], &json!(tx_no))
    );

    let path = format!("/v1/notifications/{}/resend", text(&exhausted["id"]));
    stack.notifier.post(&path, &json!({ "reason": "the receiver is repaired" })).await.expect(200);

    let delivered = stack.until_notification(&broken.id, &tx_no, "delivered").await;
    assert_eq!(delivered["id"], exhausted["id"]);
    assert_eq!(each_attempt(&delivered, "number"), [1, 2, 3], "attempt numbers go on");
    assert_eq!(each_attempt(&delivered, "http_status"), [500, 502, 204]);
    let audit = &delivered["audits"][0];
    assert_eq!((&audit["action"], &audit["actor"]), (&json!("resend"), &json!("operator")));
    assert_eq!(audit["reason"], "the receiver is repaired");
    assert_all_the_same(&stack.receiver.received(&broken.path));
    assert_eq!(stack.balance(ACCOUNT).await, 100);
}
