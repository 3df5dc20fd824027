//! Events in: kept, matched, and what there is room for sent at once.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use messaging::consumer::{HandleEvents, Verdict};
use messaging::{Event, EventKey};
use runtime::Sources;
use runtime::background::RoundError;
use runtime::database::bounded;

use crate::domain::NewEvent;
use crate::store::{DeliveryStore, Ingested};

use super::admission::Admission;
use super::courier::Courier;
use super::slots::Slots;

/// Why an event is not taken of which nobody can tell whether it was told before.
const EXPIRED: &str =
    "the event is older than the log that is kept, so it can't be told from one that was delivered";
/// How many notifications one transaction is meant to make at most.
const MAX_NOTIFICATIONS: usize = 20_000;

/// What the intake of `notifier.events` does with its batches.
pub struct Ingest {
    pub(super) store: Arc<dyn DeliveryStore>,
    pub(super) slots: Slots,
    pub(super) courier: Arc<Courier>,
    pub(super) sources: Sources,
    /// How many notifications an event made on average, the last time some were new.
    pub(super) width: Option<usize>,
}

impl Ingest {
    /// Keeps a batch in as many transactions as its events have subscribers: one that breaks off
    /// half-way comes again as a whole, and what was kept before is recognised then (law 4). Those
    /// that are too old to be told from repeats.
    async fn keep_all(&mut self, mut events: &[NewEvent]) -> Result<HashSet<EventKey>, RoundError> {
        let mut expired = HashSet::new();
        while !events.is_empty() {
            let (these, rest) = events.split_at(at_once(self.width).min(events.len()));
            expired.extend(self.keep(these).await?);
            events = rest;
        }
        Ok(expired)
    }

    async fn keep(&mut self, events: &[NewEvent]) -> Result<Vec<EventKey>, RoundError> {
        // Keeps the engine from ending between the commit and the start of what it handed out.
        let _ending_waits = self.courier.tasks.token();
        let now = self.sources.clock.now();
        let mut admission = Admission::new(&self.slots, now);
        let token = self.sources.ids.next();
        let ingested = bounded(self.store.ingest(events, &mut admission, token, now)).await;
        // After the commit, so that whoever looks finds the work; also after an error, which
        // leaves open whether anything was written.
        admission.mark_refused();
        match ingested {
            Ok(mut ingested) => {
                let expired = std::mem::take(&mut ingested.expired);
                self.width = ingested.notifications.checked_div(ingested.events).or(self.width);
                self.start(ingested, admission);
                Ok(expired)
            }
            Err(error) => {
                drop(admission);
                self.courier.schedule.look_now();
                Err(error.into())
            }
        }
    }

    fn start(&self, ingested: Ingested, mut admission: Admission<'_>) {
        let metrics = &self.courier.metrics;
        metrics.events.inc_by(ingested.events as u64);
        metrics.notifications.inc_by(ingested.notifications as u64);
        for delivery in ingested.deliveries {
            if let Some(slot) = admission.slot(delivery.endpoint.subscription) {
                self.courier.dispatch(delivery, slot);
            }
        }
        drop(admission);
        if ingested.waiting > 0 {
            self.courier.schedule.wake().notify_one();
        }
    }
}

#[async_trait]
impl HandleEvents for Ingest {
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Verdict>, RoundError> {
        self.courier.metrics.batch(events.len());
        let mut verdicts: Vec<Verdict> = events.iter().map(verdict).collect();
        let sound = || (0..events.len()).filter(|index| verdicts[*index] == Verdict::Done);
        let (places, kept): (Vec<usize>, Vec<NewEvent>) =
            sound().map(|index| (index, NewEvent::from(&events[index]))).unzip();
        if !kept.is_empty() {
            let expired = self.keep_all(&kept).await?;
            self.courier.metrics.expired.inc_by(expired.len() as u64);
            for (place, event) in places.into_iter().zip(&kept) {
                if expired.contains(&event.key) {
                    verdicts[place] = Verdict::DeadLetter(EXPIRED.into());
                }
            }
        }
        Ok(verdicts)
    }
}

/// How many events share a transaction when each makes `width` notifications; one alone while that
/// is not known.
fn at_once(width: Option<usize>) -> usize {
    width.map_or(1, |width| (MAX_NOTIFICATIONS / width.max(1)).max(1))
}

/// The id travels as a header and is signed in front of a `.`, so it must fit into the one and hold
/// none of the other (Standard Webhooks, "Signature scheme").
fn verdict(event: &Event) -> Verdict {
    if event.id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
        return Verdict::Done;
    }
    let reason =
        "webhooks carry the id as a header and sign it, so it must be visible ASCII without spaces and `.`";
    Verdict::DeadLetter(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_subscribers_the_fewer_events_share_a_transaction() {
        assert_eq!(at_once(None), 1);
        assert_eq!(at_once(Some(0)), MAX_NOTIFICATIONS);
        assert_eq!(at_once(Some(100)), 200);
        assert_eq!(at_once(Some(1_000_000)), 1);
    }
}
