//! The same event again: brokers deliver at least once, publishers repeat what was not confirmed.

use serde_json::{Value, json};

use super::foreign::order_paid;
use crate::harness::{Footing, Publisher, Stack, text};

const ACCOUNT: &str = "62220001";

/// The event of a recharge that has been delivered and credited comes twice more.
pub async fn an_event_published_again_makes_no_second_notification_and_no_second_credit(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let all = stack.subscribe("all", &["*"], json!({})).await;
    let tx_no = text(&stack.recharge(ACCOUNT, 700).await["tx_no"]);
    let delivered = stack.until_notification(&all.id, &tx_no, "delivered").await;
    stack.until_notification(&stack.account_subscription, &tx_no, "delivered").await;

    let again = republished(&delivered["event"]);
    let publisher = Publisher::connect(&stack.footing).await;
    publisher.publish(&[again.clone(), again, order_paid("after-them", "{}")]).await;
    stack.until_notification(&all.id, "after-them", "delivered").await;

    assert_eq!(stack.notifications(&all.id, &tx_no).await.len(), 1);
    assert_eq!(stack.notifications(&stack.account_subscription, &tx_no).await.len(), 1);
    assert_eq!(stack.receiver.received(&all.path).len(), 2, "the recharge and the order, once each");
    assert_eq!(stack.credits(ACCOUNT).await.len(), 1);
    assert_eq!(stack.balance(ACCOUNT).await, 700);
}

/// The event as it was published, of what a notification shows of it.
pub fn republished(event: &Value) -> String {
    let known = ["id", "source", "type", "time", "subject", "merchant", "traceparent", "data"];
    let mut again = json!({ "specversion": "1.0", "datacontenttype": "application/json" });
    for name in known {
        if !event[name].is_null() {
            again[name] = event[name].clone();
        }
    }
    again.to_string()
}

/// Twice in one go, so that both may lie in one batch, or go to two notifiers.
pub async fn an_event_published_twice_at_once_makes_one_notification_per_subscription(footing: Footing) {
    let stack = Stack::start(footing).await;
    let first = stack.subscribe("first", &["order.paid"], json!({})).await;
    let second = stack.subscribe("second", &["*"], json!({})).await;

    let publisher = Publisher::connect(&stack.footing).await;
    let twice = |subject| vec![order_paid(subject, "{}"); 2];
    publisher.publish(&twice("order-1")).await;
    publisher.publish(&[twice("order-2"), twice("order-3")].concat()).await;
    publisher.publish(&[order_paid("after-them", "{}")]).await;

    for subscriber in [&first, &second] {
        for subject in ["order-1", "order-2", "order-3", "after-them"] {
            stack.until_notification(&subscriber.id, subject, "delivered").await;
        }
        assert_eq!(stack.receiver.received(&subscriber.path).len(), 4);
    }
}
