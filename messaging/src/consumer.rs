//! The intake: takes events from a queue in batches, hands them to a service, and acknowledges
//! them only after the service has committed everything they cause (law 3). What failed climbs a
//! ladder and comes again; what is past its end is given up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};
use runtime::duration::HumanDuration;
use runtime::trace::{Span, Spans};
use tokio::time::Instant;

use crate::broker::{Broker, Consumer, Delivery, Queue, Settlement};
use crate::event::Event;
use crate::ladder::Ladder;
use crate::spans;

/// How many messages one round takes at most.
const MAX_BATCH: usize = 500;
/// How many may be out unsettled: one batch at work, the next already here.
const PREFETCH: u16 = 1000;
/// How long the first message of a batch waits for company while messages pour in.
const LINGER: Duration = Duration::from_millis(3);
/// A batch of this size tells of a flood. Below it waiting buys nothing: what arrives while a batch
/// is being handled makes the next one.
const FLOOD: usize = 64;
/// How long a round waits for a message; bounds how long a soft stop takes.
const WAIT: Duration = Duration::from_millis(250);
/// How long the queue and its binding are relied on before they are declared again.
const ASSERT_EVERY: Duration = Duration::from_secs(5);

/// What is to become of one event after the service has handled its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything it causes is committed.
    Done,
    /// It can't be handled yet: it comes again after the ladder's next step; without a further step
    /// it is given up.
    Retry(String),
    /// It can never be handled: it goes to the dead-letter queue with this reason.
    DeadLetter(String),
}

/// What a service does with events.
#[async_trait]
pub trait HandleEvents: Send {
    /// Handles a batch and commits everything it causes before it returns; one verdict per event,
    /// in their order. On an error, such as an outage of the database, nothing is acknowledged and
    /// no step of a ladder is spent: every event of the batch comes again, and events that were
    /// committed already must be recognised then.
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Verdict>, RoundError>;
}

/// The worker that feeds a handler from a queue. Run it with [`runtime::background::run`], which
/// backs off after an error. It asks the broker for a consumer when it has none.
pub struct Intake<H> {
    name: &'static str,
    broker: Arc<dyn Broker>,
    queue: Queue,
    handler: H,
    ladder: Option<Ladder>,
    max_batch: usize,
    prefetch: u16,
    linger: Duration,
    /// How many messages the last round took.
    last_batch: usize,
    wait: Duration,
    consumer: Option<Box<dyn Consumer>>,
    /// When the queue and its binding were declared last.
    asserted_at: Instant,
    traced: Option<(Spans, SharedClock)>,
}

/// The handler answered for another number of events than it was given.
#[derive(Debug, thiserror::Error)]
#[error("the handler gave {verdicts} verdicts on {events} events")]
struct Miscounted {
    verdicts: usize,
    events: usize,
}

impl<H: HandleEvents> Intake<H> {
    /// An intake of `queue` for `handler`, called `name` in logs. It has no ladder.
    pub fn new(name: &'static str, broker: Arc<dyn Broker>, queue: Queue, handler: H) -> Self {
        Self {
            name,
            broker,
            queue,
            handler,
            ladder: None,
            max_batch: MAX_BATCH,
            prefetch: PREFETCH,
            linger: LINGER,
            last_batch: 0,
            wait: WAIT,
            consumer: None,
            asserted_at: Instant::now(),
            traced: None,
        }
    }

    /// The same intake with a ladder for what can't be handled yet.
    #[must_use]
    pub fn with_ladder(mut self, ladder: Ladder) -> Self {
        self.ladder = Some(ladder);
        self
    }

    /// The same intake with batches of at most `max`, twice as many out unsettled.
    #[must_use]
    pub fn with_max_batch(mut self, max: u16) -> Self {
        self.max_batch = usize::from(max.max(1));
        self.prefetch = max.max(1).saturating_mul(2);
        self
    }

    /// The same intake with another linger, which it keeps to only in a flood: a lone message
    /// waits for nobody.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The same intake, which tells `spans` how long its handler took over each event.
    #[must_use]
    pub fn with_spans(mut self, spans: Spans, clock: SharedClock) -> Self {
        self.traced = Some((spans, clock));
        self
    }

    async fn round(&mut self, consumer: &mut dyn Consumer) -> Result<(), RoundError> {
        let linger = if is_flood(self.last_batch, self.max_batch) { self.linger } else { Duration::ZERO };
        let deliveries = consumer.receive(self.max_batch, self.wait, linger).await?;
        self.last_batch = deliveries.len();
        if deliveries.is_empty() {
            return Ok(());
        }
        let Batch { places, events, mut settlements } = Batch::read(deliveries);
        if !events.is_empty() {
            let verdicts = self.handle(events).await?;
            if verdicts.len() != places.len() {
                return Err(Miscounted { verdicts: verdicts.len(), events: places.len() }.into());
            }
            let ladder = self.ladder.as_ref();
            settlements.extend(places.iter().zip(verdicts).map(|(place, verdict)| {
                let settlement = settlement(verdict, place.failed.saturating_add(1), ladder);
                (place.tag, settlement)
            }));
        }
        for (_, settlement) in &settlements {
            self.log(settlement);
        }
        Ok(consumer.settle(settlements).await?)
    }

    fn log(&self, settlement: &Settlement) {
        match settlement {
            Settlement::Ack | Settlement::Requeue => {}
            Settlement::Retry { step, reason } => {
                tracing::info!(queue = self.queue.name, %step, reason, "message.retry_scheduled");
            }
            Settlement::DeadLetter { reason } => {
                tracing::warn!(queue = self.queue.name, reason, "message.dead_lettered");
            }
        }
    }

    /// Everything is declared anew for each consumer, so that a queue that was deleted is made again.
    async fn consumer(&mut self) -> Result<Box<dyn Consumer>, RoundError> {
        if let Some(ladder) = &self.ladder {
            self.broker.declare_steps(self.queue, ladder.steps()).await?;
        }
        self.asserted_at = Instant::now();
        Ok(self.broker.consume(self.queue, self.prefetch).await?)
    }

    /// Declares the queue and its binding again from time to time: a binding that is gone stops nothing
    /// that could be noticed here, and every event published meanwhile would pass this queue by.
    async fn assert(&mut self) -> Result<(), RoundError> {
        if self.asserted_at.elapsed() >= ASSERT_EVERY {
            self.broker.declare(self.queue).await?;
            self.asserted_at = Instant::now();
        }
        Ok(())
    }
}

/// Whether a batch was so large that the next one is worth waiting for.
fn is_flood(last_batch: usize, max_batch: usize) -> bool {
    last_batch >= FLOOD.min(max_batch)
}

impl<H: HandleEvents> Intake<H> {
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Verdict>, RoundError> {
        let Some((spans, clock)) = &self.traced else { return self.handler.handle(events).await };
        let open = spans::handling(spans, &events, (self.name, self.queue.name), clock.now());
        let verdicts = self.handler.handle(events).await?;
        let ended_at = clock.now();
        for span in open {
            spans.finish(Span { ended_at, ..span });
        }
        Ok(verdicts)
    }
}

/// What becomes of a message that has failed `failed` times when `verdict` says that it has again.
fn settlement(verdict: Verdict, failed: u32, ladder: Option<&Ladder>) -> Settlement {
    match verdict {
        Verdict::Done => Settlement::Ack,
        Verdict::Retry(reason) => match ladder.and_then(|ladder| ladder.wait_after(failed)) {
            Some(step) => Settlement::Retry { step: HumanDuration(step), reason },
            None => Settlement::DeadLetter { reason },
        },
        Verdict::DeadLetter(reason) => Settlement::DeadLetter { reason },
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
            None => self.consumer().await?,
        };
        self.assert().await?;
        self.round(consumer.as_mut()).await?;
        self.consumer = Some(consumer);
        Ok(Progress::More)
    }
}

/// Deliveries told apart: events with their places, and what is no event with its settlement.
#[derive(Default)]
struct Batch {
    places: Vec<Place>,
    events: Vec<Event>,
    settlements: Vec<(u64, Settlement)>,
}

/// The message that held an event.
struct Place {
    tag: u64,
    /// How many attempts at it have failed before this one.
    failed: u32,
}

impl Batch {
    fn read(deliveries: Vec<Delivery>) -> Self {
        let mut batch = Self::default();
        for delivery in deliveries {
            match Event::parse(&delivery.body) {
                Ok(event) => {
                    batch.places.push(Place { tag: delivery.tag, failed: delivery.history.attempts });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_message_waits_for_nobody_and_a_flood_goes_in_large_batches() {
        assert!(!is_flood(0, MAX_BATCH));
        assert!(!is_flood(FLOOD - 1, MAX_BATCH));
        assert!(is_flood(FLOOD, MAX_BATCH));
        assert!(is_flood(10, 10), "a full batch is a flood, however small batches are");
    }
}
