//! A broker behind a narrow trait: publish with confirms, receive in batches, settle.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::event::Event;

/// The exchange all events go through: topic, durable.
pub const EXCHANGE: &str = "ringback.events";

/// A queue that takes part in the topology, with its dead-letter queue `<name>.dead` beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The queue's name.
    pub name: &'static str,
    /// The topic pattern that binds it to [`EXCHANGE`]: `*` is one word, `#` any number.
    pub binding: &'static str,
}

/// Everything the notifier rings subscribers about.
pub const NOTIFIER_EVENTS: Queue = Queue { name: "notifier.events", binding: "#" };
/// Recharge results for an account-service that takes them from the queue itself (scheme 1).
pub const RECHARGE_RESULTS: Queue = Queue { name: "account.recharge-results", binding: "recharge.*" };

/// The header that says why a message was given up.
pub const REASON_HEADER: &str = "ringback-reason";

/// Why the broker could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No answer, or the connection was lost. Reconnecting is the broker's own business.
    #[error("the broker does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The broker refused the message (negative confirm).
    #[error("the broker refused the message")]
    Refused,
    /// No queue is bound for the event's type, so the message would have been dropped.
    #[error("no queue takes this event")]
    Unroutable,
}

/// A message taken from a queue and not yet settled.
#[derive(Debug)]
pub struct Delivery {
    /// Names the message to its consumer.
    pub tag: u64,
    /// The message as it was published.
    pub body: Bytes,
    /// Whether it was handed out before and came back unsettled.
    pub redelivered: bool,
}

/// What is to become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Everything it causes is committed: forget it (law 3).
    Ack,
    /// Hand it out again.
    Requeue,
    /// Move it to the dead-letter queue with the reason in [`REASON_HEADER`].
    DeadLetter {
        /// Why it was given up.
        reason: String,
    },
}

/// Sends events to whoever is bound for them.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Makes `queue`, its binding and its dead-letter queue if they are missing.
    async fn declare(&self, queue: Queue) -> Result<(), BrokerError>;

    /// Publishes `events`, pipelined; each answer is `Ok` only when the broker has confirmed that
    /// message as stored in every queue that takes it. One answer per event, in their order.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>>;

    /// Starts taking messages from `queue`, declaring it first; at most `prefetch` are out unsettled.
    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;

    /// A sign of life, for readiness.
    async fn check(&self) -> Result<(), BrokerError>;
}

/// Takes messages from one queue. What is not settled when it is dropped is handed out again.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for a message, then takes what else arrives within `linger`, `max` at most. After an
    /// error the consumer is dead, its unsettled messages go back: ask the broker for a new one.
    async fn receive(&mut self, max: usize, linger: Duration) -> Result<Vec<Delivery>, BrokerError>;

    /// Settles deliveries by tag. Dead-lettering is confirmed before the original is forgotten.
    async fn settle(&mut self, settlements: Vec<(u64, Settlement)>) -> Result<(), BrokerError>;
}
