//! What the engine's own tests share.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use messaging::Ladder;
use uuid::Uuid;

use crate::domain::{AckRule, Endpoint, Exchange, FailureClass, Outcome, RequestTimeout, SubscriptionId};

/// The n-th endpoint.
pub fn endpoint(n: u128, max_in_flight: u32) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        subscription: SubscriptionId(Uuid::from_u128(n)),
        url: "http://shop.example/".parse().expect("a URL"),
        headers: Vec::new(),
        timeout: RequestTimeout::default(),
        ack: AckRule::Status,
        ladder: Ladder::default(),
        max_in_flight,
        rate_limit: None,
        secrets: Vec::new(),
    })
}

/// An exchange that took so long and failed so, or was acknowledged.
pub fn exchange(millis: u64, failure: Option<FailureClass>) -> Exchange {
    Exchange {
        started_at: DateTime::UNIX_EPOCH,
        duration: Duration::from_millis(millis),
        outcome: failure.map_or(Outcome::Delivered, Outcome::Failed),
        http_status: None,
        error: None,
        response_excerpt: None,
        retry_after: None,
    }
}
