//! A broker that answers as a test says.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use messaging::broker::{BrokerError, DeadLetters, Queue};
use messaging::{Broker, Consumer, Event};
use runtime::duration::HumanDuration;
use tokio::sync::Semaphore;

type Answer = Result<(), BrokerError>;
type Rule = Box<dyn Fn(&Event) -> Answer + Send>;

/// Takes events and answers them by a rule.
pub struct FakeBroker {
    rule: Mutex<Rule>,
    published: Mutex<Vec<Event>>,
    /// Rings when a batch has arrived.
    pub arrived: Semaphore,
    /// One permit lets one batch's answers go.
    gate: Semaphore,
}

impl FakeBroker {
    /// Answers each event by `rule`, at once.
    pub fn answering(rule: impl Fn(&Event) -> Answer + Send + 'static) -> Self {
        let broker = Self::silent(rule);
        broker.gate.add_permits(Semaphore::MAX_PERMITS / 2);
        broker
    }

    /// Keeps its answers until [`FakeBroker::speak`].
    pub fn silent(rule: impl Fn(&Event) -> Answer + Send + 'static) -> Self {
        Self {
            rule: Mutex::new(Box::new(rule)),
            published: Mutex::default(),
            arrived: Semaphore::new(0),
            gate: Semaphore::new(0),
        }
    }

    /// Answers one batch.
    pub fn speak(&self) {
        self.gate.add_permits(1);
    }

    /// Answers by another rule from now on.
    pub fn answer(&self, rule: impl Fn(&Event) -> Answer + Send + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    /// The bodies of all it was given.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        super::published(&self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A broker that is down.
pub fn down() -> BrokerError {
    BrokerError::unavailable("down")
}

#[async_trait]
impl Broker for FakeBroker {
    async fn declare(&self, _queue: Queue) -> Answer {
        Ok(())
    }

    async fn declare_steps(&self, _queue: Queue, _steps: &[HumanDuration]) -> Answer {
        Ok(())
    }

    async fn publish(&self, events: &[Event]) -> Vec<Answer> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).extend(events.iter().cloned());
        self.arrived.add_permits(1);
        self.gate.acquire().await.expect("never closed").forget();
        let rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(&*rule).collect()
    }

    async fn consume(&self, _queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(down())
    }

    async fn dead_letters(&self, _queue: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        Err(down())
    }

    async fn check(&self) -> Answer {
        Ok(())
    }
}
