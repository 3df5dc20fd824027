//! What the tests of this crate share.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod certificates;
pub mod memory;
pub mod name_server;
pub mod names;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod rig;

use std::sync::Arc;

use messaging::Ladder;
use messaging::webhook::WebhookSecret;
use notifier::domain::{AckRule, Endpoint, Message, RequestTimeout, SigningSecret, SubscriptionId};
use notifier::webhook::{AddressPolicy, Egress, Lookup, SystemLookup, WebhookClient};
use runtime::duration::HumanDuration;
use runtime::testing::{ManualClock, SeededEntropy};
use rustls::RootCertStore;
use uuid::Uuid;

/// A signing secret.
pub fn secret(seed: u64) -> WebhookSecret {
    WebhookSecret::generate(&SeededEntropy::new(seed))
}

/// An endpoint with the shortest timeout.
pub fn endpoint(url: &str) -> Endpoint {
    let timeout = HumanDuration(RequestTimeout::MIN);
    Endpoint {
        subscription: SubscriptionId(Uuid::from_u128(1)),
        url: url.parse().expect("a URL"),
        headers: Vec::new(),
        timeout: RequestTimeout::new(timeout).expect("within bounds"),
        ack: AckRule::Status,
        ladder: Ladder::default(),
        max_in_flight: 32,
        rate_limit: None,
        secrets: vec![SigningSecret { key: secret(1).into(), expires_at: None }],
    }
}

/// A message.
pub fn message() -> Message {
    let body = r#"{"type":"recharge.succeeded","timestamp":"2026-01-01T00:00:00Z","data":{"n":1.50}}"#;
    Message { id: "evt-1".into(), body: body.into(), traceparent: None }
}

/// A client that reaches the loopback besides the public internet.
pub fn client(clock: &ManualClock) -> WebhookClient {
    client_with(clock, egress(&["127.0.0.0/8", "::1/128"]), Arc::new(SystemLookup::default()))
}

/// A client with this way out and this look-up.
pub fn client_with(clock: &ManualClock, egress: Egress, lookup: Arc<dyn Lookup>) -> WebhookClient {
    WebhookClient::new(egress, lookup, Arc::new(clock.clone()))
}

/// Straight to the public internet and to these networks; trusts no certificate.
pub fn egress(allowed: &[&str]) -> Egress {
    let allowed = allowed.iter().map(|network| network.parse().expect("a network")).collect();
    Egress::direct(AddressPolicy::allowing(allowed), Arc::new(RootCertStore::empty()))
}
