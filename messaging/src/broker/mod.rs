//! A broker behind a narrow trait: publish with confirms, receive in batches, settle.

mod rabbitmq;
mod sqlite;
mod topic;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runtime::Sources;

use crate::event::Event;

pub use rabbitmq::{RabbitMq, RabbitMqOptions};
pub use sqlite::SqliteBroker;
pub use url::{BrokerUrl, UnknownScheme};

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

impl Queue {
    /// The name of its dead-letter queue.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.name)
    }
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
    /// The event is larger than [`MAX_EVENT_BYTES`](crate::event::MAX_EVENT_BYTES): no receiver would take it.
    #[error("the event is larger than 256 KiB")]
    TooLarge,
    /// The broker has the exchange or queue already, declared in another way than ours.
    #[error("the broker's topology contradicts ours: {0}")]
    Conflict(String),
}

impl BrokerError {
    /// The broker gave no usable answer.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// Opens the broker at `url`; `application` names the connection where the broker shows such names.
/// A `RabbitMQ` is connected to when it is first needed, so this fails only for a `SQLite` file.
pub async fn open(
    url: &BrokerUrl,
    application: &str,
    sources: &Sources,
) -> Result<Arc<dyn Broker>, BrokerError> {
    Ok(match url {
        BrokerUrl::RabbitMq(url) => Arc::new(RabbitMq::new(url, application)),
        BrokerUrl::Sqlite(file) => Arc::new(SqliteBroker::open(file, sources).await?),
    })
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
    /// Why it was given up, on a message of a dead-letter queue.
    pub reason: Option<String>,
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

    /// Starts taking messages from the dead-letter queue of `queue`.
    async fn consume_dead(&self, queue: Queue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;

    /// A sign of life, for readiness.
    async fn check(&self) -> Result<(), BrokerError>;
}

/// Takes messages from one queue. What is not settled when it is dropped is handed out again.
#[async_trait]
pub trait Consumer: Send {
    /// Waits up to `wait` for a message (none: an empty batch), then takes what else arrives within
    /// `linger`, `max` at most. After an error the consumer is dead, its unsettled messages go back:
    /// ask the broker for a new one. The same holds when the future is dropped before its end.
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
        linger: Duration,
    ) -> Result<Vec<Delivery>, BrokerError>;

    /// Settles deliveries by tag. Dead-lettering is confirmed before the original is forgotten.
    async fn settle(&mut self, settlements: Vec<(u64, Settlement)>) -> Result<(), BrokerError>;
}
