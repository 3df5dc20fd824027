//! Events in: kept, matched, and what there is room for sent at once.

use std::sync::Arc;

use async_trait::async_trait;
use messaging::Event;
use messaging::consumer::{HandleEvents, Verdict};
use runtime::Sources;
use runtime::background::RoundError;
use runtime::database::{StoreResult, bounded};

use crate::domain::event::webhook_id;
use crate::domain::{EventRefusal, NewEvent};
use crate::store::{DeliveryStore, Ingested};

use super::admission::Admission;
use super::courier::Courier;
use super::slots::Slots;

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
    /// half-way comes again as a whole, and what was kept before is recognised then (law 4). The places of
    /// those that are refused, and why.
    async fn keep_all(&mut self, events: &[NewEvent]) -> Result<Vec<(usize, EventRefusal)>, RoundError> {
        let (mut refused, mut done) = (Vec::new(), 0);
        while done < events.len() {
            let end = events.len().min(done + at_once(self.width));
            let part = self.keep(&events[done..end], Keep::Each).await?.refused;
            refused.extend(part.into_iter().map(|(place, refusal)| (done + place, refusal)));
            done = end;
        }
        Ok(refused)
    }

    /// Keeps events in one transaction; what is handed out is under way when this returns.
    pub(super) async fn keep(&mut self, events: &[NewEvent], how: Keep) -> StoreResult<Ingested> {
        // Keeps the engine from ending between the commit and the start of what it handed out.
        let _ending_waits = self.courier.tasks.token();
        let now = self.sources.clock.now();
        let mut admission = Admission::new(&self.slots, self.sources.clock.steady());
        let token = self.sources.ids.next();
        let ingested = match how {
            Keep::Each => bounded(self.store.ingest(events, &mut admission, token, now)).await,
            Keep::Together => bounded(self.store.ingest_together(events, &mut admission, token, now)).await,
        };
        // After the commit, so that whoever looks finds the work; also after an error, which
        // leaves open whether anything was written.
        admission.mark_refused();
        match ingested {
            Ok(mut ingested) => {
                self.width = ingested.notifications.checked_div(ingested.events).or(self.width);
                self.start(&mut ingested, admission);
                Ok(ingested)
            }
            Err(error) => {
                drop(admission);
                self.courier.schedule.look_now();
                Err(error)
            }
        }
    }

    fn start(&self, ingested: &mut Ingested, mut admission: Admission<'_>) {
        let metrics = &self.courier.metrics;
        metrics.events.inc_by(ingested.events as u64);
        metrics.notifications.inc_by(ingested.notifications as u64);
        for delivery in std::mem::take(&mut ingested.deliveries) {
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
            for (place, refusal) in self.keep_all(&kept).await? {
                self.courier.metrics.refused(&refusal);
                log(&kept[place], &refusal);
                verdicts[places[place]] = Verdict::DeadLetter(refusal.to_string());
            }
        }
        Ok(verdicts)
    }
}

/// Which event is not kept since another one has its identity or its key.
pub(super) fn log(event: &NewEvent, refusal: &EventRefusal) {
    if *refusal != EventRefusal::Expired {
        tracing::warn!(event.id, event.source, reason = %refusal, "event.contradicted");
    }
}

/// What becomes of the other events of a batch when one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// They are kept.
    Each,
    /// None is.
    Together,
}

/// How many events share a transaction when each makes `width` notifications; one alone while that
/// is not known.
pub(super) fn at_once(width: Option<usize>) -> usize {
    width.map_or(1, |width| (MAX_NOTIFICATIONS / width.max(1)).max(1))
}

fn verdict(event: &Event) -> Verdict {
    webhook_id(&event.id).map_or_else(|reason| Verdict::DeadLetter(reason.into()), |()| Verdict::Done)
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
