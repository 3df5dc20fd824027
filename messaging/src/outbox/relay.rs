//! The relay: takes due rows under a lease, publishes them, and forgets a row only after the
//! broker's confirm (law 2). Any number of relays may share an outbox.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::clock::StepWatch;
use runtime::database::bounded;
use runtime::recurring::Recurring;
use runtime::trace::Spans;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use uuid::Uuid;

use super::finishing::Finishing;
use super::handover::{self, Handover, Inbox};
use super::sorted::Sorted;
use super::{Claimed, Furthest, OutboxStore};
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
/// How far ahead the times of a row can be.
const FURTHEST: Furthest = Furthest { wait: MAX_WAIT, lease: LEASE };
/// How many rows are clamped at once.
const CLAMP: u32 = 10_000;
/// How often a relay that is handed rows looks into the table, where others may have left some.
const LOOK: TimeDelta = TimeDelta::seconds(1);

/// Moves events from an outbox to the broker. Run it with [`runtime::background::run`], woken after
/// each commit that wrote rows, with a slow poll as the safety net.
pub struct Relay {
    store: Arc<dyn OutboxStore>,
    broker: Arc<dyn Broker>,
    sources: Sources,
    spans: Spans,
    inbox: Option<Inbox>,
    finishing: Finishing,
    /// When it looked into the table last, by the steady clock.
    looked_at: Option<DateTime<Utc>>,
    refusals: Recurring,
    steps: StepWatch,
}

/// What one round publishes, all of it under one lease.
#[derive(Default)]
struct Batch {
    token: Uuid,
    rows: Vec<(Uuid, u32)>,
    events: Vec<Event>,
    /// Room of what was handed over, held until the round ends.
    room: Vec<OwnedSemaphorePermit>,
}

impl Relay {
    /// A relay from `store` to `broker`.
    pub fn new(store: Arc<dyn OutboxStore>, broker: Arc<dyn Broker>, sources: Sources) -> Self {
        let steps = StepWatch::new(sources.clock.clone());
        Self {
            store,
            broker,
            sources,
            spans: Spans::off(),
            inbox: None,
            finishing: Finishing::default(),
            looked_at: None,
            refusals: Recurring::default(),
            steps,
        }
    }

    /// The same relay, which tells `spans` of what it has published.
    #[must_use]
    pub fn with_spans(mut self, spans: Spans) -> Self {
        self.spans = spans;
        self
    }

    /// Lets writers of this process hand their rows over instead of leaving them to be claimed;
    /// `wake` is what [`runtime::background::run`] is woken by.
    pub fn handover(&mut self, wake: Arc<Notify>) -> Handover {
        let (handover, inbox) = handover::pair(self.sources.ids.next(), LEASE, wake);
        self.inbox = Some(inbox);
        handover
    }

    /// Gives back what was handed over and is not published yet: another relay, or this process's
    /// next one, need not wait for the lease to end. For an orderly stop.
    pub async fn give_up(&mut self) -> Result<(), RoundError> {
        self.finishing.end().await?;
        let Some(inbox) = &mut self.inbox else { return Ok(()) };
        let handed = inbox.take(usize::MAX);
        let ids: Vec<Uuid> = handed.iter().flat_map(|one| &one.events).map(|event| event.key().0).collect();
        if ids.is_empty() {
            return Ok(());
        }
        Ok(bounded(self.store.release(inbox.token, &ids)).await?)
    }

    /// What to publish now: rows of the table when it is time to look there, else what was handed over.
    async fn next_batch(&mut self) -> Result<Batch, RoundError> {
        self.clamp().await?;
        let now = self.sources.clock.now();
        if self.is_time_to_look() {
            let claimed = self.claim(now).await?;
            if !claimed.rows.is_empty() {
                return Ok(claimed);
            }
        }
        Ok(self.inbox.as_mut().map(|inbox| handed(inbox, now)).unwrap_or_default())
    }

    /// Rows whose times are further ahead than they can be would wait until the clock is there.
    async fn clamp(&mut self) -> Result<(), RoundError> {
        let Some(steps) = self.steps.due() else { return Ok(()) };
        let clamped = bounded(self.store.clamp(self.sources.clock.now(), FURTHEST, CLAMP)).await?;
        if clamped > 0 {
            tracing::warn!(rows = clamped, "outbox.times_clamped");
        }
        if clamped < u64::from(CLAMP) {
            self.steps.checked(steps);
        }
        Ok(())
    }

    fn is_time_to_look(&self) -> bool {
        let Some(inbox) = &self.inbox else { return true };
        let steady = self.sources.clock.steady();
        inbox.rows_wait() || self.looked_at.is_none_or(|looked| steady - looked >= LOOK)
    }

    async fn claim(&mut self, now: DateTime<Utc>) -> Result<Batch, RoundError> {
        let token = self.sources.ids.next();
        let ended = self.sources.clock.lease_time();
        let claimed = bounded(self.store.claim(token, now, ended, LEASE, MAX_BATCH)).await?;
        self.looked_at = Some(self.sources.clock.steady());
        if let Some(inbox) = self.inbox.as_ref().filter(|_| claimed.len() == MAX_BATCH as usize) {
            inbox.expect_rows();
        }
        let (rows, events) =
            claimed.into_iter().map(|Claimed { id, failures, event }| ((id, failures), event)).unzip();
        Ok(Batch { token, rows, events, room: Vec::new() })
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

    /// Waits until what was published is forgotten, or there is more to publish.
    async fn rest(&mut self) -> Result<Progress, RoundError> {
        let more = async {
            match &self.inbox {
                Some(inbox) => inbox.more().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = self.finishing.end() => ended.map(|()| Progress::Idle).map_err(Into::into),
            () = more => Ok(Progress::More),
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
            if let Some(inbox) = &self.inbox {
                inbox.expect_rows();
            }
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
        let Batch { token, rows, events, room } = self.next_batch().await?;
        if rows.is_empty() {
            return self.rest().await;
        }
        let full = rows.len() >= MAX_BATCH as usize || self.inbox.as_ref().is_some_and(|i| !i.is_empty());
        let started_at = self.sources.clock.now();
        let answers = self.publish(&events).await;
        let took = Took { started_at, ended_at: self.sources.clock.now() };
        for (event, _) in events.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            spans::published(&self.spans, event, token, took);
        }
        let mut sorted = Sorted::new(rows, answers, &self.refusals);
        let earlier = self.finishing.end().await;
        if !sorted.confirmed.is_empty() {
            self.finishing.begin(&self.store, token, std::mem::take(&mut sorted.confirmed), room);
        }
        self.give_back(token, &sorted).await?;
        earlier?;
        match sorted.outage {
            Some(error) => Err(error.into()),
            None if full => Ok(Progress::More),
            None => self.rest().await,
        }
    }
}

/// What was handed over and can still be published within its lease. The rest waits for the lease to
/// end, as after a crash.
fn handed(inbox: &mut Inbox, now: DateTime<Utc>) -> Batch {
    let mut batch = Batch { token: inbox.token, ..Batch::default() };
    let timeout = TimeDelta::from_std(PUBLISH_TIMEOUT).expect("twenty seconds");
    for one in inbox.take(MAX_BATCH as usize).into_iter().filter(|one| one.lease.until - now > timeout) {
        batch.rows.extend(one.events.iter().map(|event| (event.key().0, 0)));
        batch.events.extend(one.events);
        batch.room.push(one.room);
    }
    batch
}
