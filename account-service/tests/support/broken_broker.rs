//! A broker that is down.

use async_trait::async_trait;
use messaging::broker::{BrokerError, DeadLetters, Queue};
use messaging::{Broker, Consumer, Event};
use runtime::duration::HumanDuration;

pub struct BrokenBroker;

fn down() -> BrokerError {
    BrokerError::unavailable("down")
}

#[async_trait]
impl Broker for BrokenBroker {
    async fn declare(&self, _: Queue) -> Result<(), BrokerError> {
        Err(down())
    }

    async fn declare_steps(&self, _: Queue, _: &[HumanDuration]) -> Result<(), BrokerError> {
        Err(down())
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        events.iter().map(|_| Err(down())).collect()
    }

    async fn consume(&self, _: Queue, _: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(down())
    }

    async fn dead_letters(&self, _: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        Err(down())
    }

    async fn check(&self) -> Result<(), BrokerError> {
        Err(down())
    }
}
