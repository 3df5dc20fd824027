//! account-service takes results from the queue itself (scheme 1), beside the webhook or without it.

use serde_json::Value;

use super::duplicates::republished;
use crate::harness::{Footing, Options, Publisher, Stack, text};

const ACCOUNT: &str = "62220001";

/// Every result comes on both ways, and one of them once more from the queue.
pub async fn results_taken_from_the_queue_and_by_webhook_are_credited_once(footing: Footing) {
    let stack = Stack::start_with(footing, Options { intake: "both", ..Options::default() }).await;
    stack.open_account(ACCOUNT).await;
    let mut last = Value::Null;
    for amount in 1..=20 {
        let tx_no = text(&stack.recharge(ACCOUNT, amount).await["tx_no"]);
        last = stack.until_notification(&stack.account_subscription, &tx_no, "delivered").await;
    }
    let publisher = Publisher::connect(&stack.footing).await;
    publisher.publish(&[republished(&last["event"])]).await;
    // What comes later on the queue is credited from there only after the repeated event was seen.
    stack.set_state(&stack.account_subscription, "paused").await;
    stack.recharge(ACCOUNT, 1_000).await;
    stack.until_balance(ACCOUNT, 1_210).await;
    assert_eq!(stack.credits(ACCOUNT).await.len(), 21);
}

/// The queue alone carries the result.
pub async fn results_taken_from_the_queue_need_no_notifier(footing: Footing) {
    let mut stack = Stack::start_with(footing, Options { intake: "queue", ..Options::default() }).await;
    stack.open_account(ACCOUNT).await;
    stack.kill_notifiers();
    stack.recharge(ACCOUNT, 300).await;
    stack.until_balance(ACCOUNT, 300).await;
    assert_eq!(stack.credits(ACCOUNT).await[0]["source"], "queue");
}
