//! What the suites share: events, and patience with a deadline.

#![allow(dead_code, unused_imports, reason = "each test program uses its part")]

pub mod broker;
pub mod fake;
pub mod moves;
pub mod outbox;
pub mod server;
pub mod slow;

use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::broker::{Consumer, Delivery};
use runtime::Sources;
use serde_json::json;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits for what must not come.
pub const GLIMPSE: Duration = Duration::from_millis(50);
/// The linger of batch receives.
pub const LINGER: Duration = Duration::from_millis(3);

/// The events of these tests happened then.
pub fn time() -> DateTime<Utc> {
    "2026-01-01T00:00:00.123456Z".parse().expect("a time")
}

/// An event of type `kind` that carries `number`.
pub fn event(sources: &Sources, kind: &str, number: usize) -> Event {
    let data = json!({ "number": number, "text": "payé 元" });
    Event::new(sources.ids.next(), "/test", kind, time(), &data)
        .expect("JSON")
        .about(number.to_string(), "shop")
}

/// `count` events of type `kind`, numbered.
pub fn events(sources: &Sources, kind: &str, count: usize) -> Vec<Event> {
    (0..count).map(|number| event(sources, kind, number)).collect()
}

/// Receives until `count` messages are here.
pub async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    let gathering = async {
        while all.len() < count {
            all.extend(consumer.receive(count - all.len(), PATIENCE, LINGER).await.expect("received"));
        }
    };
    tokio::time::timeout(PATIENCE, gathering).await.expect("all messages arrive in time");
    all
}

/// The bodies of `deliveries`.
pub fn bodies(deliveries: &[Delivery]) -> Vec<Vec<u8>> {
    deliveries.iter().map(|delivery| delivery.body.to_vec()).collect()
}

/// The bodies that `events` are published as.
pub fn published(events: &[Event]) -> Vec<Vec<u8>> {
    events.iter().map(Event::to_json).collect()
}
