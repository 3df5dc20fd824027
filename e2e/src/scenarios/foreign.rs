//! Messages that the services did not publish themselves.

use messaging::broker::NOTIFIER_EVENTS;
use serde_json::json;

use crate::harness::{Footing, Publisher, Stack, text};

const ACCOUNT: &str = "62220001";

/// The event `order.paid` of a shop program about `subject`, as it writes it; its id is no UUID.
pub fn order_paid(subject: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"paid-{subject}","source":"/shop/orders","type":"order.paid",
            "time":"2026-01-02T03:04:05.678Z","subject":"{subject}","data":{data}}}"#
    )
}

/// Any type, any id; the data goes through byte for byte.
pub async fn an_event_of_another_program_is_delivered_to_the_subscriptions_that_match(footing: Footing) {
    let stack = Stack::start(footing).await;
    let exact = stack.subscribe("exact", &["order.paid"], json!({})).await;
    let all = stack.subscribe("all", &["*"], json!({})).await;
    let other = stack.subscribe("other", &["recharge.*", "order.sent"], json!({})).await;

    let publisher = Publisher::connect(&stack.footing).await;
    publisher.publish(&[order_paid("order-7", r#"{"total":1.50,"note":"\u00fcber"}"#)]).await;

    for subscriber in [&exact, &all] {
        stack.until_notification(&subscriber.id, "order-7", "delivered").await;
        let webhooks = stack.receiver.received(&subscriber.path);
        assert_eq!(webhooks.len(), 1);
        assert!(webhooks[0].is_signed_with(&subscriber.key));
        assert_eq!(webhooks[0].header("webhook-id"), "paid-order-7");
        let body = String::from_utf8_lossy(&webhooks[0].body).into_owned();
        assert!(body.contains(r#"{"total":1.50,"note":"\u00fcber"}"#), "{body}");
        assert_eq!(webhooks[0].json()["type"], "order.paid");
    }
    assert!(stack.notifications(&other.id, "order-7").await.is_empty());
}

/// Five kinds of garbage, then a recharge that goes its way.
pub async fn a_message_that_is_no_event_is_put_aside_with_the_reason_and_stops_nothing(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let large = "x".repeat(300 * 1024);
    let garbage: [&[u8]; 5] = [
        b"",
        b"hello",
        &[0xFF, 0xFE, 0x00],
        br#"{"specversion":"1.0","id":"1","source":"/x","type":"no time"}"#,
        large.as_bytes(),
    ];
    let publisher = Publisher::connect(&stack.footing).await;
    for message in garbage {
        publisher.publish_raw(message).await;
    }

    let tx_no = text(&stack.recharge(ACCOUNT, 100).await["tx_no"]);
    stack.until_notification(&stack.account_subscription, &tx_no, "delivered").await;
    let dead = publisher.dead_letters(NOTIFIER_EVENTS, garbage.len()).await;
    for message in garbage {
        // A look shows as much of it as an event may have.
        let shown = &message[..message.len().min(256 * 1024)];
        let (_, reason) = dead.iter().find(|(body, _)| body == shown).expect("it is kept as it came");
        assert!(!reason.is_empty(), "the reason is kept");
    }
    assert_eq!(stack.balance(ACCOUNT).await, 100);
}
