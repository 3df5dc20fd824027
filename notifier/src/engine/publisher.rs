//! Events in by HTTP: requests that come at the same time share a transaction, and each is kept whole or not at all.

use std::sync::Arc;

use async_trait::async_trait;
use runtime::batcher::HandleBatch;
use runtime::database::StoreError;

use super::ingest::{Ingest, Keep, at_once, log};
use crate::domain::{EventRefusal, NewEvent};
use crate::store::Ingested;

/// How many requests share a transaction at most.
pub(super) const MAX_REQUESTS: usize = 100;
/// How many events they have together at most, where one request has not more.
const MAX_EVENTS: usize = 1_000;

/// What became of a request's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// All of them are kept; for each, whether it was not known before.
    Kept(Vec<bool>),
    /// None is kept: the places of those that are refused, and why.
    Refused(Vec<(usize, EventRefusal)>),
}

/// What a request is answered.
pub type PublishAnswer = Result<Published, Arc<StoreError>>;

/// Keeps the events of requests.
pub struct PublishEvents(pub(super) Ingest);

#[async_trait]
impl HandleBatch for PublishEvents {
    type Item = Vec<NewEvent>;
    type Answer = PublishAnswer;

    async fn handle(&mut self, requests: Vec<Vec<NewEvent>>) -> Vec<PublishAnswer> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = &requests[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.share(rest));
            answers.extend(self.keep(now).await);
            rest = later;
        }
        answers
    }
}

impl PublishEvents {
    /// How many of the first requests share a transaction: one at least.
    fn share(&self, requests: &[Vec<NewEvent>]) -> usize {
        let room = at_once(self.0.width).min(MAX_EVENTS);
        let totals = requests.iter().scan(0, |total, request| {
            *total += request.len();
            Some(*total)
        });
        totals.take_while(|total| *total <= room).count().max(1)
    }

    /// Keeps requests in one transaction. Where one is refused, each is kept by itself, so that it is refused for its
    /// own events and by what is kept alone.
    async fn keep(&mut self, requests: &[Vec<NewEvent>]) -> Vec<PublishAnswer> {
        let all: Vec<NewEvent> = requests.iter().flatten().cloned().collect();
        match self.0.keep(&all, Keep::Together).await {
            Err(error) => {
                let error = Arc::new(error);
                requests.iter().map(|_| Err(error.clone())).collect()
            }
            Ok(ingested) if ingested.refused.is_empty() => split(requests, &ingested),
            Ok(ingested) if requests.len() == 1 => vec![Ok(self.refused(&all, ingested))],
            Ok(_) => {
                let mut answers = Vec::with_capacity(requests.len());
                for request in requests {
                    answers.push(self.keep_alone(request).await);
                }
                answers
            }
        }
    }

    async fn keep_alone(&mut self, request: &[NewEvent]) -> PublishAnswer {
        let ingested = self.0.keep(request, Keep::Together).await.map_err(Arc::new)?;
        if !ingested.refused.is_empty() {
            return Ok(self.refused(request, ingested));
        }
        Ok(Published::Kept(freshness(request.len(), &ingested)))
    }

    fn refused(&self, request: &[NewEvent], Ingested { refused, .. }: Ingested) -> Published {
        for (place, refusal) in &refused {
            self.0.courier.metrics.refused(refusal);
            log(&request[*place], refusal);
        }
        Published::Refused(refused)
    }
}

/// The answer of each request when all are kept.
fn split(requests: &[Vec<NewEvent>], ingested: &Ingested) -> Vec<PublishAnswer> {
    let mut fresh = freshness(requests.iter().map(Vec::len).sum(), ingested);
    let mut split = |request: &Vec<NewEvent>| Ok(Published::Kept(fresh.drain(..request.len()).collect()));
    requests.iter().map(&mut split).collect()
}

/// For each of so many events, whether it was not known before.
fn freshness(count: usize, ingested: &Ingested) -> Vec<bool> {
    let mut fresh = vec![false; count];
    for place in &ingested.fresh {
        fresh[*place] = true;
    }
    fresh
}
