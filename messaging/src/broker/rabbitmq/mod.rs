//! `RabbitMQ` as the broker, 3.10 and newer.
//!
//! Two connections, each opened when it is first needed: one publishes, one consumes, so that a
//! broker that blocks publishers (memory or disk alarm) still takes acknowledgements. Recovery is
//! ours, not the client library's: after any loss the next call opens what is missing, and the
//! loops that call back off between their tries. So no publish is ever answered by anything but
//! the confirm of that very message on that very channel.

mod consumer;
mod dead_letters;
mod link;
mod marks;
mod moving;
mod outlet;
mod publisher;
mod topology;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use prometheus::Registry;
use runtime::Sources;
use runtime::duration::HumanDuration;
use tokio::sync::Mutex;

use self::consumer::RabbitConsumer;
use self::dead_letters::RabbitDeadLetters;
use self::link::Line;
use self::publisher::{Letter, Publisher};
use self::topology::Topology;
use super::{
    AmqpUrls, Broker, BrokerError, Consumer, DeadLetters, EXCHANGE, NOTIFIER_EVENTS, Queue, RECHARGE_RESULTS,
};
use crate::event::Event;

/// What tests set in their own way; production has the default.
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    /// The exchange events go through.
    pub exchange: String,
    /// How long the broker may take to confirm a batch, or to answer any other request.
    pub answer_timeout: Duration,
    /// The queue that must receive every event that is published; without one, any queue will do.
    pub required: Option<Queue>,
    /// A queue of another program that is bound again together with the required one, where it has a
    /// consumer.
    pub optional: Option<Queue>,
}

impl Default for RabbitMqOptions {
    fn default() -> Self {
        Self {
            exchange: EXCHANGE.to_owned(),
            answer_timeout: Duration::from_secs(10),
            required: Some(NOTIFIER_EVENTS),
            optional: Some(RECHARGE_RESULTS),
        }
    }
}

/// A `RabbitMQ`, connected to when it is first needed.
pub struct RabbitMq {
    consuming: Line,
    publisher: Arc<Publisher>,
    topology: Arc<Topology>,
    sources: Sources,
    /// Keeps looks into dead-letter queues apart.
    turn: Arc<Mutex<()>>,
}

impl RabbitMq {
    /// The broker at `urls`; `application` names its connections.
    pub fn new(urls: &AmqpUrls, application: &str, sources: &Sources) -> Self {
        Self::with_options(urls, application, sources, RabbitMqOptions::default())
    }

    /// The same with options of its own.
    pub fn with_options(
        urls: &AmqpUrls,
        application: &str,
        sources: &Sources,
        options: RabbitMqOptions,
    ) -> Self {
        let topology = Arc::new(Topology::new(options.exchange, options.optional));
        let line =
            |purpose: &str| Line::new(urls, format!("{application}: {purpose}"), options.answer_timeout);
        let (consuming, publishing) = (line("consuming"), line("publishing"));
        let publisher = Arc::new(Publisher::new(publishing, topology.clone(), options.required));
        Self { consuming, publisher, topology, sources: sources.clone(), turn: Arc::default() }
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn declare(&self, queue: Queue) -> Result<(), BrokerError> {
        let link = self.consuming.link().await?;
        link.bounded(self.topology.declare(&link, queue)).await
    }

    async fn declare_steps(&self, queue: Queue, steps: &[HumanDuration]) -> Result<(), BrokerError> {
        let link = self.consuming.link().await?;
        for step in steps {
            link.bounded(self.topology.declare_step(&link, queue, *step)).await?;
        }
        Ok(())
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        let (exchange, headers) = (self.publisher.exchange(), trace::first(self.sources.clock.now()));
        let letters = events.iter().map(|event| Letter::event(event, exchange, headers.clone()));
        self.publisher.publish_events(letters.collect()).await
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let link = self.consuming.link().await?;
        link.bounded(async {
            self.topology.declare(&link, queue).await?;
            let channel = link.channel().await?;
            channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await?;
            let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
            let consuming = channel.basic_consume(queue.name.into(), tag, options, FieldTable::default());
            let messages = consuming.await?;
            let (publisher, sources) = (self.publisher.clone(), self.sources.clone());
            let consumer = RabbitConsumer::new(link.clone(), channel, messages, queue, publisher, sources);
            Ok(Box::new(consumer) as Box<dyn Consumer>)
        })
        .await
    }

    async fn dead_letters(&self, queue: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        let link = self.consuming.link().await?;
        link.bounded(self.topology.declare(&link, queue)).await?;
        let (publisher, turn) = (self.publisher.clone(), self.turn.clone());
        Ok(Box::new(RabbitDeadLetters::new(link, publisher, queue, turn)))
    }

    async fn check(&self) -> Result<(), BrokerError> {
        self.publisher.check().await
    }

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.topology.losses().clone()))
    }

    async fn close(&self) {
        tokio::join!(self.publisher.close(), self.consuming.close());
    }
}
