//! The relay: takes due rows under a lease, publishes them, and forgets a row only after the
//! broker's confirm (law 2). Any number of relays may share an outbox.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::bounded;
use runtime::problem::Chain;
use runtime::trace::Spans;
use uuid::Uuid;

use super::{Claimed, OutboxStore};
use crate::broker::{Broker, BrokerError};
use crate::event::Event;
use crate::spans::{self, Took};

/// How many rows one round takes.
const MAX_BATCH: u32 = 500;
/// How long one round's publishing may take; longer than a broker's own connect and confirm timeouts.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(20);
/// How long claimed rows are out of other relays' reach; longer than [`PUBLISH_TIMEOUT`], so that a
/// row is published by one relay at a time.
const LEASE: Duration = Duration::from_secs(25);
const _: () = assert!(PUBLISH_TIMEOUT.as_secs() < LEASE.as_secs(), "a lease outlives its publish");
/// The wait after the first failure; doubles with each further one.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Moves events from an outbox to the broker. Run it with [`runtime::background::run`], woken after
/// each commit that wrote rows, with a slow poll as the safety net.
pub struct Relay {
    store: Arc<dyn OutboxStore>,
    broker: Arc<dyn Broker>,
    sources: Sources,
    spans: Spans,
}

impl Relay {
    /// A relay from `store` to `broker`.
    pub fn new(store: Arc<dyn OutboxStore>, broker: Arc<dyn Broker>, sources: Sources) -> Self {
        Self { store, broker, sources, spans: Spans::off() }
    }

    /// The same relay, which tells `spans` of what it has published.
    #[must_use]
    pub fn with_spans(mut self, spans: Spans) -> Self {
        self.spans = spans;
        self
    }

    /// When a row is to be tried again after its failure number `failures`: 1 s, doubling up to
    /// 1 min, the second half of it drawn by lot so that rows that failed together spread out.
    fn retry_at(&self, failures: u32, now: DateTime<Utc>) -> DateTime<Utc> {
        let wait = MIN_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(MAX_WAIT);
        let wait = wait / 2 + (wait / 2).mul_f64(self.sources.entropy.lot());
        now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::seconds(60))
    }

    /// Publishes; a broker that hangs longer than the lease allows has confirmed nothing.
    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        match tokio::time::timeout(PUBLISH_TIMEOUT, self.broker.publish(events)).await {
            Ok(answers) => answers,
            Err(_) => events.iter().map(|_| Err(BrokerError::unavailable("publishing timed out"))).collect(),
        }
    }

    async fn give_back(&self, token: Uuid, sorted: &Sorted) -> Result<(), RoundError> {
        if !sorted.refused.is_empty() {
            let now = self.sources.clock.now();
            let late: Vec<_> =
                sorted.refused.iter().map(|(id, failures)| (*id, self.retry_at(failures + 1, now))).collect();
            bounded(self.store.postpone(token, &late)).await?;
        }
        if !sorted.untried.is_empty() {
            bounded(self.store.release(token, &sorted.untried)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for Relay {
    fn name(&self) -> &'static str {
        "outbox.relay"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let token = self.sources.ids.next();
        let claimed = bounded(self.store.claim(token, self.sources.clock.now(), LEASE, MAX_BATCH)).await?;
        if claimed.is_empty() {
            return Ok(Progress::Idle);
        }
        let full = claimed.len() == MAX_BATCH as usize;
        let (rows, events): (Vec<_>, Vec<_>) =
            claimed.into_iter().map(|Claimed { id, failures, event }| ((id, failures), event)).unzip();
        let started_at = self.sources.clock.now();
        let answers = self.publish(&events).await;
        let took = Took { started_at, ended_at: self.sources.clock.now() };
        for (event, _) in events.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            spans::published(&self.spans, event, token, took);
        }
        let sorted = Sorted::new(rows, answers);
        if !sorted.confirmed.is_empty() {
            bounded(self.store.finish(token, &sorted.confirmed)).await?;
        }
        self.give_back(token, &sorted).await?;
        match sorted.outage {
            Some(error) => Err(error.into()),
            None => Ok(if full { Progress::More } else { Progress::Idle }),
        }
    }
}

/// A round's rows by what is to become of them.
#[derive(Default)]
struct Sorted {
    /// Confirmed by the broker.
    confirmed: Vec<Uuid>,
    /// Refused one by one, with their earlier failures: the row's own trouble.
    refused: Vec<(Uuid, u32)>,
    /// Not answered: the broker's trouble, which is no failure of the row.
    untried: Vec<Uuid>,
    outage: Option<BrokerError>,
}

impl Sorted {
    fn new(rows: Vec<(Uuid, u32)>, answers: Vec<Result<(), BrokerError>>) -> Self {
        let mut sorted = Self::default();
        let mut answers = answers.into_iter();
        for (id, failures) in rows {
            match answers.next() {
                Some(Ok(())) => sorted.confirmed.push(id),
                Some(Err(error @ BrokerError::Unavailable(_))) => {
                    sorted.untried.push(id);
                    sorted.outage = Some(error);
                }
                Some(Err(error)) => {
                    tracing::warn!(event.id = %id, failures = failures + 1, error = %Chain(&error), "outbox.refused");
                    sorted.refused.push((id, failures));
                }
                // A broker that answers fewer than it was asked has confirmed nothing of the rest.
                None => sorted.untried.push(id),
            }
        }
        sorted
    }
}
