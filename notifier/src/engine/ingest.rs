//! Events in: kept, matched, and what there is room for sent at once.

use std::sync::Arc;

use async_trait::async_trait;
use messaging::Event;
use messaging::consumer::{HandleEvents, Verdict};
use runtime::Sources;
use runtime::background::RoundError;
use runtime::database::bounded;

use crate::domain::NewEvent;
use crate::store::{DeliveryStore, Ingested};

use super::admission::Admission;
use super::courier::Courier;
use super::slots::Slots;

/// What the intake of `notifier.events` does with its batches.
pub struct Ingest {
    pub(super) store: Arc<dyn DeliveryStore>,
    pub(super) slots: Slots,
    pub(super) courier: Courier,
    pub(super) sources: Sources,
}

impl Ingest {
    async fn keep(&self, events: &[NewEvent]) -> Result<(), RoundError> {
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
            Ok(ingested) => {
                self.start(ingested, admission);
                Ok(())
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
        let verdicts: Vec<Verdict> = events.iter().map(verdict).collect();
        let kept: Vec<NewEvent> = events
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| **verdict == Verdict::Done)
            .map(|(event, _)| event.into())
            .collect();
        if !kept.is_empty() {
            self.keep(&kept).await?;
        }
        Ok(verdicts)
    }
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
