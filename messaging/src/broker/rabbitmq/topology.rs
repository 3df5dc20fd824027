//! The exchanges, and the queues with their dead-letter queues.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use lapin::ExchangeKind;
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use prometheus::IntCounter;
use runtime::duration::HumanDuration;

use super::link::Link;
use super::marks::{self, Watched};
use crate::broker::{BrokerError, Queue, losses_counter};

/// How often a message may come back: see [`Topology::queue`].
const DELIVERY_LIMIT: i32 = i32::MAX;

/// What is declared before it is used.
pub(super) struct Topology {
    exchange: String,
    publish_exchange: String,
    /// A queue of another program that is bound again together with the required one.
    optional: Option<Queue>,
    /// Whether the queues were made without our delivery limit. See [`Topology::queue`].
    plain: AtomicBool,
    /// The queues that this process has declared: one of them that is missing later was deleted.
    declared: Mutex<HashSet<&'static str>>,
    losses: IntCounter,
}

/// A part of the topology that can be lost.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Exchange,
    Queue,
    Binding,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
            Self::Binding => "binding",
        }
    }
}

impl Topology {
    pub(super) fn new(exchange: String, optional: Option<Queue>) -> Self {
        let publish_exchange = format!("{exchange}.publish");
        let (plain, declared, losses) = (AtomicBool::new(false), Mutex::default(), losses_counter());
        Self { exchange, publish_exchange, optional, plain, declared, losses }
    }

    pub(super) fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The exchange that our programs publish to; see [`super::outlet`].
    pub(super) fn publish_exchange(&self) -> &str {
        &self.publish_exchange
    }

    /// Counts losses of what had been declared.
    pub(super) fn losses(&self) -> &IntCounter {
        &self.losses
    }

    /// Notes that another program deleted what this one had declared.
    pub(super) fn lost(&self, part: Part, name: &str) {
        self.losses.inc();
        tracing::warn!(part = part.as_str(), name, "broker.topology_lost");
    }

    /// Declares the exchange, the queue, its binding, and its dead-letter queue.
    pub(super) async fn declare(&self, link: &Link, queue: Queue) -> Result<(), BrokerError> {
        self.note_losses(link, queue).await?;
        self.declare_exchange(link).await?;
        self.queue(link, queue.name).await?;
        self.queue(link, &queue.dead()).await?;
        let channel = link.channel().await?;
        marks::set(&channel, &exchange_mark(queue), Watched::Exchange(&self.exchange)).await?;
        self.bind(link, queue).await?;
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.name);
        Ok(())
    }

    /// A queue that this process has declared is looked for before it is declared again, since a
    /// declaration does not say whether it changed anything.
    async fn note_losses(&self, link: &Link, queue: Queue) -> Result<(), BrokerError> {
        if !self.declared.lock().unwrap_or_else(PoisonError::into_inner).contains(queue.name) {
            return Ok(());
        }
        if passive_queue(link, queue.name).await?.is_none() {
            self.lost(Part::Queue, queue.name);
        }
        // The mark watches the exchange. Whoever makes the exchange again does not make this queue's binding.
        if !marks::stands(&link.channel().await?, &exchange_mark(queue)).await? {
            self.lost(Part::Binding, queue.name);
        }
        Ok(())
    }

    async fn bind(&self, link: &Link, queue: Queue) -> Result<(), BrokerError> {
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

    /// Binds the optional queue where it is there and has a consumer, so that what is published before
    /// its own program notices a loss reaches it too.
    pub(super) async fn bind_consumed(&self, link: &Link) -> Result<(), BrokerError> {
        let Some(queue) = self.optional else { return Ok(()) };
        match passive_queue(link, queue.name).await? {
            Some(consumers) if consumers > 0 => self.bind(link, queue).await,
            _ => Ok(()),
        }
    }

    /// Declares the exchange that our programs publish to: it passes everything to `required` and to the
    /// exchange of everybody.
    pub(super) async fn declare_publish_exchange(
        &self,
        link: &Link,
        required: Queue,
    ) -> Result<(), BrokerError> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let (name, no_key) = (ShortString::from(self.publish_exchange.as_str()), ShortString::default());
        let channel = link.channel().await?;
        let declared =
            channel.exchange_declare(name.clone(), ExchangeKind::Fanout, options, FieldTable::default());
        declared.await.map_err(conflict)?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(required.name.into(), name.clone(), no_key.clone(), options, none.clone()).await?;
        let (options, exchange) = (ExchangeBindOptions::default(), ShortString::from(self.exchange.as_str()));
        Ok(channel.exchange_bind(exchange, name, no_key, options, none).await?)
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

/// The mark that watches the exchange for the binding of `queue`.
fn exchange_mark(queue: Queue) -> String {
    format!("{}.bound", queue.name)
}

/// How many consumers a queue has; `None`: there is no such queue.
async fn passive_queue(link: &Link, name: &str) -> Result<Option<u32>, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let channel = link.channel().await?;
    match channel.queue_declare(name.into(), options, FieldTable::default()).await {
        Ok(queue) => Ok(Some(queue.consumer_count())),
        Err(error) if marks::is_not_found(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
