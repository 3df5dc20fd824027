//! The dead letters of the queue of results: looked at, and put back by a person.

use std::sync::Arc;

use messaging::Event;
use messaging::broker::{Broker, BrokerError, DeadLetter, RECHARGE_RESULTS};
use runtime::Sources;
use runtime::database::StoreError;
use runtime::http::Page;
use runtime::problem::Chain;
use runtime::repeated::storable;
use uuid::Uuid;

use crate::domain::Requeue;
use crate::store::Store;

/// What the queue of results has given up. Without a queue there is nothing in it.
pub struct DeadLetterQueue {
    /// Who has the queue, where results come from it.
    pub broker: Option<Arc<dyn Broker>>,
    /// Where it is kept who had what put back.
    pub store: Arc<dyn Store>,
    /// Time and fresh ids.
    pub sources: Sources,
}

/// A dead letter, read.
pub struct ReadLetter {
    /// The letter.
    pub letter: DeadLetter,
    /// The event it holds, if it holds one.
    pub event: Option<Event>,
}

/// The wish to have a dead letter put back.
pub struct Wish {
    /// Who asks.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// Nothing can be said of dead letters now.
#[derive(Debug, thiserror::Error)]
pub enum NoLetters {
    /// The broker did not do what was asked.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The books could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeadLetterQueue {
    /// A page of them, newest first; up to [`Page::fetch`].
    pub async fn list(&self, page: Page) -> Result<Vec<ReadLetter>, NoLetters> {
        let Some(broker) = &self.broker else { return Ok(Vec::new()) };
        let letters = broker.dead_letters(RECHARGE_RESULTS).await?.list(page).await?;
        Ok(letters.into_iter().map(ReadLetter::new).collect())
    }

    /// The one of this id, with the requeues of the same event so far.
    pub async fn show(&self, id: Uuid) -> Result<Option<(ReadLetter, Vec<Requeue>)>, NoLetters> {
        let Some(broker) = &self.broker else { return Ok(None) };
        let found = broker.dead_letters(RECHARGE_RESULTS).await?.find(id).await?;
        let Some(read) = found.map(ReadLetter::new) else { return Ok(None) };
        let event_id = read.event.as_ref().map(|event| event.id.as_str());
        let requeues = self.store.requeues_about(id, event_id).await?;
        Ok(Some((read, requeues)))
    }

    /// Puts the one of this id back into the queue; `None` when there is no such letter. That it was
    /// asked for is kept before it is done, so that nothing is done by nobody.
    pub async fn requeue(&self, id: Uuid, wish: Wish) -> Result<Option<Requeue>, NoLetters> {
        let Some(broker) = &self.broker else { return Ok(None) };
        let letters = broker.dead_letters(RECHARGE_RESULTS).await?;
        let Some(found) = letters.find(id).await? else { return Ok(None) };
        let mut requeue = self.asked(ReadLetter::new(found), wish);
        self.store.ask_requeue(&requeue).await?;
        if !letters.requeue(id).await? {
            // Somebody else was faster.
            return Ok(None);
        }
        let now = self.sources.clock.now();
        if let Err(error) = self.store.confirm_requeue(requeue.id, now).await {
            // It is done all the same, and kept who asked for it.
            tracing::warn!(requeue.id = %requeue.id, error = %Chain(&error), "requeue.unconfirmed");
        }
        requeue.requeued_at = Some(now);
        Ok(Some(requeue))
    }

    fn asked(&self, ReadLetter { letter, event }: ReadLetter, wish: Wish) -> Requeue {
        Requeue {
            id: self.sources.ids.next(),
            dead_letter_id: letter.id,
            event_id: event.as_ref().map(|event| event.id.clone()),
            event_type: event.as_ref().map(|event| event.kind.clone()),
            subject: event.and_then(|event| event.subject),
            given_up_for: letter.history.reason.as_deref().map(storable),
            attempts: letter.history.attempts,
            asked_by: wish.by,
            reason: wish.reason,
            asked_at: self.sources.clock.now(),
            requeued_at: None,
        }
    }
}

impl ReadLetter {
    fn new(letter: DeadLetter) -> Self {
        Self { event: Event::parse(&letter.body).ok(), letter }
    }
}
