//! The intake: takes events from a queue in batches, hands them to a service, and acknowledges
//! them only after the service has committed everything they cause (law 3).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};

use crate::broker::{Broker, Consumer, Delivery, Queue, Settlement};
use crate::event::Event;

/// How many messages one round takes at most.
const MAX_BATCH: usize = 500;
/// How many may be out unsettled: one batch at work, the next already here.
const PREFETCH: u16 = 1000;
/// How long the first message of a batch waits for company.
const LINGER: Duration = Duration::from_millis(3);
/// How long a round waits for a message; bounds how long a soft stop takes.
const WAIT: Duration = Duration::from_millis(250);

/// What is to become of one event after the service has handled its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything it causes is committed.
    Done,
    /// It can never be handled: it goes to the dead-letter queue with this reason.
    DeadLetter(String),
}

/// What a service does with events.
#[async_trait]
pub trait HandleEvents: Send {
    /// Handles a batch and commits everything it causes before it returns; one verdict per event,
    /// in their order. On an error nothing is acknowledged: every event of the batch comes again,
    /// and events that were committed already must be recognised then.
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Verdict>, RoundError>;
}

/// The worker that feeds a handler from a queue. Run it with [`runtime::background::run`], which
/// backs off after an error. It asks the broker for a consumer when it has none.
pub struct Intake<H> {
    name: &'static str,
    broker: Arc<dyn Broker>,
    queue: Queue,
    handler: H,
    max_batch: usize,
    prefetch: u16,
    linger: Duration,
    wait: Duration,
    consumer: Option<Box<dyn Consumer>>,
}

/// The handler answered for another number of events than it was given.
#[derive(Debug, thiserror::Error)]
#[error("the handler gave {verdicts} verdicts on {events} events")]
struct Miscounted {
    verdicts: usize,
    events: usize,
}

impl<H: HandleEvents> Intake<H> {
    /// An intake of `queue` for `handler`, called `name` in logs.
    pub fn new(name: &'static str, broker: Arc<dyn Broker>, queue: Queue, handler: H) -> Self {
        Self {
            name,
            broker,
            queue,
            handler,
            max_batch: MAX_BATCH,
            prefetch: PREFETCH,
            linger: LINGER,
            wait: WAIT,
            consumer: None,
        }
    }

    /// The same intake with batches of at most `max`, twice as many out unsettled.
    #[must_use]
    pub fn with_max_batch(mut self, max: u16) -> Self {
        self.max_batch = usize::from(max.max(1));
        self.prefetch = max.max(1).saturating_mul(2);
        self
    }

    /// The same intake with another linger.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    async fn round(&mut self, consumer: &mut dyn Consumer) -> Result<(), RoundError> {
        let deliveries = consumer.receive(self.max_batch, self.wait, self.linger).await?;
        if deliveries.is_empty() {
            return Ok(());
        }
        let Batch { tags, events, mut settlements } = Batch::read(deliveries);
        if !events.is_empty() {
            let verdicts = self.handler.handle(events).await?;
            if verdicts.len() != tags.len() {
                return Err(Miscounted { verdicts: verdicts.len(), events: tags.len() }.into());
            }
            settlements.extend(tags.into_iter().zip(verdicts.into_iter().map(Settlement::from)));
        }
        for (_, settlement) in &settlements {
            if let Settlement::DeadLetter { reason } = settlement {
                tracing::warn!(queue = self.queue.name, reason, "message.dead_lettered");
            }
        }
        Ok(consumer.settle(settlements).await?)
    }
}

impl From<Verdict> for Settlement {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done => Self::Ack,
            Verdict::DeadLetter(reason) => Self::DeadLetter { reason },
        }
    }
}

#[async_trait]
impl<H: HandleEvents> Worker for Intake<H> {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        // Taken out, so that a round that fails or is dropped takes its consumer along, and
        // everything unsettled is handed out again.
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.broker.consume(self.queue, self.prefetch).await?,
        };
        self.round(consumer.as_mut()).await?;
        self.consumer = Some(consumer);
        Ok(Progress::More)
    }
}

/// Deliveries told apart: events with their tags, and what is no event with its settlement.
#[derive(Default)]
struct Batch {
    tags: Vec<u64>,
    events: Vec<Event>,
    settlements: Vec<(u64, Settlement)>,
}

impl Batch {
    fn read(deliveries: Vec<Delivery>) -> Self {
        let mut batch = Self::default();
        for delivery in deliveries {
            match Event::parse(&delivery.body) {
                Ok(event) => {
                    batch.tags.push(delivery.tag);
                    batch.events.push(event);
                }
                Err(error) => {
                    let reason = error.to_string();
                    batch.settlements.push((delivery.tag, Settlement::DeadLetter { reason }));
                }
            }
        }
        batch
    }
}
