//! The exchange, and the queues with their dead-letter queues.

use std::sync::atomic::{AtomicBool, Ordering};

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use runtime::duration::HumanDuration;

use super::link::Link;
use crate::broker::{BrokerError, Queue};

/// How often a message may come back: see [`Topology::queue`].
const DELIVERY_LIMIT: i32 = i32::MAX;

/// What is declared before it is used.
pub(super) struct Topology {
    exchange: String,
    /// Whether the queues were made without our delivery limit. See [`Topology::queue`].
    plain: AtomicBool,
}

impl Topology {
    pub(super) fn new(exchange: String) -> Self {
        Self { exchange, plain: AtomicBool::new(false) }
    }

    pub(super) fn exchange(&self) -> &str {
        &self.exchange
    }

    /// Declares the exchange, the queue, its binding, and its dead-letter queue.
    pub(super) async fn declare(&self, link: &Link, queue: Queue) -> Result<(), BrokerError> {
        self.declare_exchange(link).await?;
        self.queue(link, queue.name).await?;
        self.queue(link, &queue.dead()).await?;
        let channel = link.channel().await?;
        let bound = channel.queue_bind(
            ShortString::from(queue.name),
            ShortString::from(self.exchange.as_str()),
            ShortString::from(queue.binding),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        Ok(bound.await?)
    }

    /// Declares the queue in which messages of `queue` wait for `step`. Nobody consumes it: when the
    /// step has passed, its messages are dead-lettered back to `queue` through the default exchange.
    /// At least once, which asks for `reject-publish`, since nothing may be lost between two steps
    /// (<https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>; 3.10 and newer).
    pub(super) async fn declare_step(
        &self,
        link: &Link,
        queue: Queue,
        step: HumanDuration,
    ) -> Result<(), BrokerError> {
        let text = |value: &str| AMQPValue::LongString(LongString::from(value));
        let milliseconds = i64::try_from(step.0.as_millis()).unwrap_or(i64::MAX);
        let mut arguments = quorum(Some(DELIVERY_LIMIT));
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(milliseconds));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(queue.name));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        try_queue(link, &queue.retry(step), arguments).await.map_err(conflict)
    }

    /// Declares the exchange: topic, durable.
    pub(super) async fn declare_exchange(&self, link: &Link) -> Result<(), BrokerError> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let exchange = ShortString::from(self.exchange.as_str());
        let channel = link.channel().await?;
        let declared =
            channel.exchange_declare(exchange, ExchangeKind::Topic, options, FieldTable::default());
        declared.await.map_err(conflict)
    }

    /// Declares a quorum queue. `RabbitMQ` 4 drops a message that came back twenty times unless the
    /// queue says otherwise (<https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>),
    /// and nothing may be lost here. The -1 that turns the limit off there makes 3.x drop a message
    /// when it first comes back, so the limit is a number nobody reaches, on all versions alike.
    /// A queue that was made without one is taken as it is.
    async fn queue(&self, link: &Link, name: &str) -> Result<(), BrokerError> {
        if !self.plain.load(Ordering::Relaxed) {
            match try_queue(link, name, quorum(Some(DELIVERY_LIMIT))).await {
                Err(error) if is_precondition_failed(&error) => {}
                answer => return Ok(answer?),
            }
        }
        try_queue(link, name, quorum(None)).await.map_err(conflict)?;
        self.plain.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// What makes a queue a quorum queue.
fn quorum(delivery_limit: Option<i32>) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    if let Some(limit) = delivery_limit {
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    }
    arguments
}

/// On a channel of its own, since a refusal closes the channel.
async fn try_queue(link: &Link, name: &str, arguments: FieldTable) -> Result<(), lapin::Error> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let channel = link.channel().await?;
    channel.queue_declare(ShortString::from(name), options, arguments).await.map(drop)
}

fn is_precondition_failed(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}

fn conflict(error: lapin::Error) -> BrokerError {
    if is_precondition_failed(&error) { BrokerError::Conflict(error.to_string()) } else { error.into() }
}
