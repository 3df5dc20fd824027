//! A broker behind a narrow trait: publish with confirms, receive in batches, settle.

#[cfg(feature = "rabbitmq")]
mod amqp_url;
mod dead_letter;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod sqlite;
mod topic;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use prometheus::{IntCounter, Registry};
use runtime::Sources;
use runtime::duration::HumanDuration;
use runtime::http::NotReady;

use crate::event::Event;

#[cfg(feature = "rabbitmq")]
pub use amqp_url::AmqpUrls;
pub use dead_letter::{DeadLetter, DeadLetters};
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{RabbitMq, RabbitMqOptions};
pub use sqlite::SqliteBroker;
pub use url::{BadBrokerUrl, BrokerUrl};

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

    /// The name of the queue in which its messages wait for `step`; equal steps share one.
    pub fn retry(&self, step: HumanDuration) -> String {
        format!("{}.retry.{step}", self.name)
    }
}

/// Everything the notifier rings subscribers about.
pub const NOTIFIER_EVENTS: Queue = Queue { name: "notifier.events", binding: "#" };
/// Recharge results for an account-service that takes them from the queue itself (scheme 1).
pub const RECHARGE_RESULTS: Queue = Queue { name: "account.recharge-results", binding: "recharge.*" };

/// The header that says when a message was first published, in RFC 3339; kept on every step.
pub const FIRST_PUBLISHED_HEADER: &str = "ringback-first-published-at";
/// The header that counts the attempts at a message that have failed.
pub const ATTEMPTS_HEADER: &str = "ringback-attempts";
/// The header that says why the last attempt failed: of a dead letter, why it was given up.
pub const REASON_HEADER: &str = "ringback-reason";
/// The header that names a dead letter.
pub const DEAD_LETTER_ID_HEADER: &str = "ringback-dead-letter-id";
/// The header that says when a message was given up, in RFC 3339.
pub const DEAD_LETTERED_HEADER: &str = "ringback-dead-lettered-at";

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
    /// The error as `/readyz` shows it: a conflict is for an operator to solve.
    pub fn for_readiness(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            error @ Self::Conflict(_) => NotReady(error.to_string()).into(),
            error => error.into(),
        }
    }

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
        #[cfg(feature = "rabbitmq")]
        BrokerUrl::RabbitMq(urls) => Arc::new(RabbitMq::new(urls, application, sources)),
        BrokerUrl::Sqlite(file) => {
            Arc::new(SqliteBroker::open(file, sources).await?.requiring(NOTIFIER_EVENTS))
        }
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
    /// What happened to it before.
    pub history: History,
}

/// What a message has been through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When it was first published, where that is known.
    pub first_published_at: Option<DateTime<Utc>>,
    /// How many attempts at it have failed.
    pub attempts: u32,
    /// Why the last one failed.
    pub reason: Option<String>,
}

/// What is to become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Everything it causes is committed: forget it (law 3).
    Ack,
    /// Hand it out again; nobody has tried it.
    Requeue,
    /// The attempt failed: hand it out again when `step` has passed. Its queue for that step must
    /// have been declared by [`Broker::declare_steps`].
    Retry {
        /// How long it waits.
        step: HumanDuration,
        /// Why the attempt failed.
        reason: String,
    },
    /// The attempt failed for good: move it to the dead-letter queue with the reason.
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

    /// Makes the queues in which messages of `queue` wait for each of `steps`, if they are missing.
    async fn declare_steps(&self, queue: Queue, steps: &[HumanDuration]) -> Result<(), BrokerError>;

    /// Publishes `events`, pipelined; each answer is `Ok` only when the broker has confirmed that
    /// message as stored in every queue that takes it. One answer per event, in their order.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>>;

    /// Starts taking messages from `queue`, declaring it first; at most `prefetch` are out unsettled.
    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;

    /// The dead-letter queue of `queue`, to look into; declared first.
    async fn dead_letters(&self, queue: Queue) -> Result<Box<dyn DeadLetters>, BrokerError>;

    /// A sign of life, for readiness.
    async fn check(&self) -> Result<(), BrokerError>;

    /// Shows in `registry` what this broker counts.
    fn register(&self, _registry: &Registry) -> prometheus::Result<()> {
        Ok(())
    }

    /// Ends its connections in order, within a few seconds. For the end of the process.
    async fn close(&self) {}
}

/// Whether `broker` would take messages and `queue` is there as it must be. Declares it, so that what is
/// missing is made again.
pub async fn check_queue(
    broker: &dyn Broker,
    queue: Queue,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    broker.declare(queue).await.map_err(BrokerError::for_readiness)?;
    broker.check().await.map_err(BrokerError::for_readiness)
}

/// Counts what was deleted of the topology; each broker registers its own.
pub fn losses_counter() -> IntCounter {
    IntCounter::new(
        "ringback_broker_topology_losses_total",
        "Exchanges, queues and bindings that this process had declared and found deleted",
    )
    .expect("the name is a valid one")
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

    /// Settles deliveries by tag. A message that moves to another queue is confirmed there before
    /// the original is forgotten (law 3).
    async fn settle(&mut self, settlements: Vec<(u64, Settlement)>) -> Result<(), BrokerError>;
}
