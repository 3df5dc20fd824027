//! Results from the queue itself (scheme 1), credited whole batches at a time.

use std::slice;

use async_trait::async_trait;
use messaging::Event;
use messaging::consumer::{HandleEvents, Verdict as Settled};
use runtime::background::RoundError;
use runtime::database::{StoreError, StoreResult};
use runtime::problem::Chain;

use crate::domain::{Arrival, CreditSource, Verdict};
use crate::metrics::Metrics;
use crate::use_cases::{PostResults, ReadResults, Told};

/// Credits what the queue tells. What can't be credited yet climbs the ladder; what never can be,
/// or can't be read, goes to the dead-letter queue with its reason; other merchants' results are
/// done at once.
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

    /// Posts a batch. An outage fails it as a whole and is no message's fault. Where the database
    /// stumbles over the batch while it is up, the one that it stumbles over must not hold the
    /// others back.
    async fn post(&self, arrivals: &[Arrival]) -> StoreResult<Vec<Settled>> {
        match self.post.post(arrivals).await {
            Ok(verdicts) => Ok(verdicts.into_iter().map(settle).collect()),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) if arrivals.len() == 1 => Err(error),
            Err(error) => self.post_each(arrivals, error).await,
        }
    }

    /// Posts results one by one. Where not one succeeds it is the database's fault, not theirs.
    async fn post_each(&self, arrivals: &[Arrival], stumbled: StoreError) -> StoreResult<Vec<Settled>> {
        let mut settled = Vec::with_capacity(arrivals.len());
        let mut posted = 0;
        for arrival in arrivals {
            match self.post.post(slice::from_ref(arrival)).await {
                Ok(verdicts) => {
                    posted += 1;
                    settled.extend(verdicts.into_iter().map(settle));
                }
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => settled.push(Settled::Retry(Chain(&error).to_string())),
            }
        }
        if posted == 0 { Err(stumbled) } else { Ok(settled) }
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
            for (place, verdict) in places.into_iter().zip(self.post(&arrivals).await?) {
                settled[place] = verdict;
            }
        }
        Ok(settled)
    }
}

fn settle(verdict: Verdict) -> Settled {
    match verdict {
        Verdict::Credited(_) | Verdict::Already(_) | Verdict::Noted => Settled::Done,
        Verdict::Refused(refusal) if refusal.may_pass() => Settled::Retry(refusal.to_string()),
        Verdict::Refused(refusal) => Settled::DeadLetter(refusal.to_string()),
    }
}
