//! A queue of results in this process, with its retry steps and its dead letters. What a consumer
//! has not settled comes back when it is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use messaging::broker::{
    BrokerError, Consumer, DeadLetter, DeadLetters, Delivery, History, Queue, Settlement,
};
use messaging::{Broker, Event};
use runtime::SharedClock;
use runtime::duration::HumanDuration;
use runtime::http::Page;
use uuid::Uuid;

use super::gate::{Died, Gate};
use super::mortal::{Done, Journal};

/// A message, somewhere between the queue and its end.
#[derive(Debug, Clone)]
pub struct Message {
    pub body: Bytes,
    pub failed: u32,
    due: DateTime<Utc>,
    /// Whether a consumer has it.
    held: bool,
}

/// What the broker holds, by the order in which it came.
#[derive(Default)]
pub struct Messages {
    pub queued: BTreeMap<u64, Message>,
    pub dead: BTreeMap<u64, Message>,
    last: u64,
}

/// One process's connection; all have the same messages.
#[derive(Clone)]
pub struct MemoryQueue {
    pub messages: Arc<Mutex<Messages>>,
    pub clock: SharedClock,
    pub gate: Gate,
    pub journal: Journal,
}

fn lock(messages: &Mutex<Messages>) -> MutexGuard<'_, Messages> {
    messages.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Dead letters are named by their place.
pub fn letter_id(place: u64) -> Uuid {
    Uuid::from_u128(place.into())
}

fn died(_: Died) -> BrokerError {
    BrokerError::unavailable("the process has died")
}

impl MemoryQueue {
    /// Empties it.
    pub fn clear(&self) {
        *self.messages() = Messages::default();
    }

    pub fn messages(&self) -> MutexGuard<'_, Messages> {
        lock(&self.messages)
    }

    fn push(&self, body: Bytes) {
        let due = self.clock.now();
        let mut messages = self.messages();
        messages.last += 1;
        let place = messages.last;
        messages.queued.insert(place, Message { body, failed: 0, due, held: false });
    }
}

#[async_trait]
impl Broker for MemoryQueue {
    async fn declare(&self, _: Queue) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn declare_steps(&self, _: Queue, _: &[HumanDuration]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        for event in events {
            self.push(serde_json::to_vec(event).expect("an event is JSON").into());
        }
        events.iter().map(|_| Ok(())).collect()
    }

    async fn consume(&self, _: Queue, _: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(Box::new(Taking { queue: self.clone(), held: Vec::new() }))
    }

    async fn dead_letters(&self, _: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        Ok(Box::new(self.clone()))
    }

    async fn check(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

struct Taking {
    queue: MemoryQueue,
    held: Vec<u64>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        let mut messages = self.queue.messages();
        for place in &self.held {
            if let Some(message) = messages.queued.get_mut(place) {
                message.held = false;
            }
        }
    }
}

impl Taking {
    fn take(&mut self, max: usize) -> Vec<Delivery> {
        let now = self.queue.clock.now();
        let mut messages = lock(&self.queue.messages);
        let free = messages.queued.iter_mut().filter(|(_, message)| !message.held && message.due <= now);
        let taken = free.take(max).map(|(place, message)| {
            message.held = true;
            let history = History { attempts: message.failed, ..History::default() };
            Delivery { tag: *place, body: message.body.clone(), redelivered: false, history }
        });
        let taken: Vec<Delivery> = taken.collect();
        self.held.extend(taken.iter().map(|delivery| delivery.tag));
        taken
    }

    fn settle_one(&mut self, place: u64, settlement: &Settlement) {
        let now = self.queue.clock.now();
        self.held.retain(|held| *held != place);
        let mut messages = lock(&self.queue.messages);
        let mut message = messages.queued.remove(&place).expect("only what was handed out is settled");
        message.held = false;
        match settlement {
            Settlement::Ack => {}
            Settlement::Requeue => {
                messages.queued.insert(place, message);
            }
            Settlement::Retry { step, .. } => {
                message.failed += 1;
                message.due = now + step.0;
                messages.queued.insert(place, message);
            }
            Settlement::DeadLetter { .. } => {
                messages.dead.insert(place, message);
            }
        }
    }
}

#[async_trait]
impl Consumer for Taking {
    async fn receive(&mut self, max: usize, _: Duration, _: Duration) -> Result<Vec<Delivery>, BrokerError> {
        self.queue.gate.pass().await.map_err(died)?;
        let taken = self.take(max);
        let received = taken.iter().map(|taken| (taken.tag, taken.history.attempts, taken.body.clone()));
        self.queue.journal.write(Done::Received(received.collect()));
        self.queue.gate.pass().await.map_err(died)?;
        Ok(taken)
    }

    async fn settle(&mut self, settlements: Vec<(u64, Settlement)>) -> Result<(), BrokerError> {
        self.queue.gate.pass().await.map_err(died)?;
        for (place, settlement) in &settlements {
            self.settle_one(*place, settlement);
        }
        self.queue.journal.write(Done::Settled(settlements));
        self.queue.gate.pass().await.map_err(died)
    }
}

#[async_trait]
impl DeadLetters for MemoryQueue {
    async fn list(&self, _: Page) -> Result<Vec<DeadLetter>, BrokerError> {
        Ok(self.messages().dead.iter().rev().map(letter).collect())
    }

    async fn find(&self, id: Uuid) -> Result<Option<DeadLetter>, BrokerError> {
        Ok(self.messages().dead.iter().find(|(place, _)| letter_id(**place) == id).map(letter))
    }

    async fn requeue(&self, id: Uuid) -> Result<bool, BrokerError> {
        self.gate.pass().await.map_err(died)?;
        let place = self.messages().dead.keys().copied().find(|place| letter_id(*place) == id);
        let dead = place.and_then(|place| self.messages().dead.remove(&place));
        let found = dead.is_some();
        if let Some(Message { body, .. }) = dead {
            self.push(body);
        }
        self.gate.pass().await.map_err(died)?;
        Ok(found)
    }
}

fn letter((place, message): (&u64, &Message)) -> DeadLetter {
    DeadLetter {
        id: letter_id(*place),
        body: message.body.clone(),
        size: message.body.len(),
        history: History { attempts: message.failed, ..History::default() },
        dead_lettered_at: None,
    }
}
