//! Results from the queue itself (scheme 1), credited whole batches at a time.

use async_trait::async_trait;
use messaging::Event;
use messaging::consumer::{HandleEvents, Verdict as Settled};
use runtime::background::RoundError;

use crate::domain::{Arrival, CreditSource, Verdict};
use crate::metrics::Metrics;
use crate::use_cases::{PostResults, ReadResults, Told};

/// Credits what the queue tells. What can't be credited goes to the dead-letter queue with its
/// reason; other merchants' results are done at once.
pub struct CreditFromQueue {
    /// Tells our results from others'.
    pub read: ReadResults,
    /// Writes them.
    pub post: PostResults,
    /// Counts what is not posted.
    pub metrics: Metrics,
}

impl CreditFromQueue {
    /// What is to be posted for `event`, or how it is settled without.
    fn read(&self, event: Event) -> Result<Arrival, Settled> {
        match self.read.read(&event.kind, event.merchant.as_deref(), event.data.get()) {
            Ok(Told::Result(recharge)) => {
                Ok(Arrival::new(recharge, CreditSource::Queue, event.data).by_event(Some(event.id)))
            }
            Ok(Told::NotOurs) => {
                self.metrics.passed_over(CreditSource::Queue);
                Err(Settled::Done)
            }
            Err(error) => {
                self.metrics.unreadable(CreditSource::Queue);
                Err(Settled::DeadLetter(error.to_string()))
            }
        }
    }
}

#[async_trait]
impl HandleEvents for CreditFromQueue {
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Settled>, RoundError> {
        let mut settled = Vec::with_capacity(events.len());
        let (mut arrivals, mut places) = (Vec::new(), Vec::new());
        for (place, event) in events.into_iter().enumerate() {
            settled.push(Settled::Done);
            match self.read(event) {
                Ok(arrival) => {
                    arrivals.push(arrival);
                    places.push(place);
                }
                Err(already) => settled[place] = already,
            }
        }
        if !arrivals.is_empty() {
            let verdicts = self.post.post(&arrivals).await?;
            for (place, verdict) in places.into_iter().zip(verdicts) {
                if let Verdict::Refused(refusal) = verdict {
                    settled[place] = Settled::DeadLetter(refusal.to_string());
                }
            }
        }
        Ok(settled)
    }
}
