//! A broker that remembers what it was given, and can be down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use messaging::broker::{BrokerError, DeadLetters, Queue, losses_counter};
use messaging::{Broker, Consumer, Event};
use prometheus::Registry;
use runtime::duration::HumanDuration;

#[derive(Default)]
pub struct TestBroker {
    down: AtomicBool,
    published: Mutex<Vec<Event>>,
}

impl TestBroker {
    pub fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    pub fn published(&self) -> Vec<Event> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self) -> Result<(), BrokerError> {
        if self.down.load(Ordering::SeqCst) { Err(BrokerError::unavailable("down")) } else { Ok(()) }
    }
}

#[async_trait]
impl Broker for TestBroker {
    async fn declare(&self, _queue: Queue) -> Result<(), BrokerError> {
        self.answer()
    }

    async fn declare_steps(&self, _queue: Queue, _steps: &[HumanDuration]) -> Result<(), BrokerError> {
        self.answer()
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        if self.answer().is_ok() {
            self.published.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(events);
        }
        events.iter().map(|_| self.answer()).collect()
    }

    async fn consume(&self, _queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::Refused)
    }

    async fn dead_letters(&self, _queue: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        Err(BrokerError::Refused)
    }

    async fn check(&self) -> Result<(), BrokerError> {
        self.answer()
    }

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(losses_counter()))
    }
}
