//! `RabbitMQ` as the broker.

use async_trait::async_trait;
use runtime::Secret;

use super::{Broker, BrokerError, Consumer, EXCHANGE, Queue};
use crate::event::Event;

/// A `RabbitMQ`, connected to when it is first needed.
pub struct RabbitMq {
    _url: Secret,
    _application: String,
    _exchange: String,
}

impl RabbitMq {
    /// The broker at `url` (`amqp://…` or `amqps://…`); `application` names its connections.
    pub fn new(url: Secret, application: &str) -> Self {
        Self { _url: url, _application: application.to_owned(), _exchange: EXCHANGE.to_owned() }
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn declare(&self, _queue: Queue) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        events.iter().map(|_| Err(BrokerError::unavailable("not built yet"))).collect()
    }

    async fn consume(&self, _queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }

    async fn consume_dead(&self, _queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }

    async fn check(&self) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }
}
