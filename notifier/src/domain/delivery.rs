//! A notification handed out for one attempt.

use std::sync::Arc;

use bytes::Bytes;

use super::attempt::{Attempt, AttemptResult, Exchange, Verdict};
use super::receiver_pause::PauseAsked;
use super::{Endpoint, Lease, NotificationId, health};

/// What is sent: but for the trace context the same on every attempt, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The `webhook-id`: the event's own id, the receiver's deduplication key.
    pub id: String,
    /// The body: `{"type", "timestamp", "data"}`.
    pub body: Bytes,
    /// The W3C trace context: the event's, and on its way out the attempt's, which lies below it.
    pub traceparent: Option<String>,
}

/// A notification under a lease, and all that is needed for its next attempt.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The notification.
    pub notification: NotificationId,
    /// The number of the attempt that is to be made. The same again when the lease ends unused.
    pub number: u32,
    /// Failed attempts so far in this climb of the ladder.
    pub climb: u32,
    /// What is sent.
    pub message: Message,
    /// Where it is sent and how; shared by all deliveries of one subscription.
    pub endpoint: Arc<Endpoint>,
    /// Until when, and under which token the result counts.
    pub lease: Lease,
}

impl Delivery {
    /// The result that `exchange` makes of this delivery.
    pub fn conclude(&self, exchange: Exchange) -> AttemptResult {
        let ended_at = exchange.started_at + exchange.duration;
        let ladder = self.endpoint.ladder();
        let verdict = Verdict::of(exchange.outcome, ladder, self.climb, ended_at, exchange.retry_after);
        let pause_asked = PauseAsked::by(&exchange);
        AttemptResult {
            notification: self.notification,
            subscription: self.endpoint.subscription,
            lease: self.lease,
            attempt: Attempt::new(self.number, exchange),
            verdict,
            probe_at: ended_at + health::probe_pause(ladder),
            pause_asked,
        }
    }
}
