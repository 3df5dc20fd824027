//! Many events at once, and as many notifier processes as the footing has.

use std::collections::BTreeSet;

use serde_json::json;

use super::foreign::order_paid;
use crate::harness::{Footing, Kind, PATIENCE, Publisher, Service, Stack, eventually};

const EVENTS: usize = 400;

/// While nothing fails, at least once is exactly once, and no notifier stands idle.
pub async fn a_burst_of_events_is_shared_and_each_is_sent_once(footing: Footing) {
    let stack = Stack::start(footing).await;
    let counter = stack.subscribe("counter", &["order.paid"], json!({ "max_in_flight": 50 })).await;
    let publisher = Publisher::connect(&stack.footing).await;
    let events: Vec<String> =
        (0..EVENTS).map(|number| order_paid(&format!("order-{number}"), "{}")).collect();
    publisher.publish(&events).await;

    let webhooks = stack.receiver.wait_for(&counter.path, EVENTS).await;
    let ids: BTreeSet<&str> = webhooks.iter().map(|webhook| webhook.header("webhook-id")).collect();
    assert_eq!(ids.len(), EVENTS, "every event, and none twice");
    let delivered = format!("/v1/notifications?subscription_id={}&state=delivered", counter.id);
    eventually("every attempt is recorded", PATIENCE, async || {
        (stack.notifier.list(&delivered).await.len() == EVENTS).then_some(())
    })
    .await;
    assert_eq!(stack.receiver.received(&counter.path).len(), EVENTS);

    let mut notifiers = vec![Service::Notifier];
    if stack.footing.kind == Kind::Postgres {
        notifiers.push(Service::SecondNotifier);
    }
    let mut attempts = 0;
    for notifier in notifiers {
        let own = stack.metric(notifier, "ringback_attempts_total").await;
        assert!(own > 0, "{notifier:?} took its share");
        attempts += own;
    }
    assert_eq!(attempts, EVENTS, "as many attempts as webhooks");
}
