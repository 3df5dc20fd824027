//! A consumer of one queue on a channel of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{BasicProperties, Channel};
use runtime::Sources;
use runtime::duration::HumanDuration;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::link::Link;
use super::publisher::{Letter, Publisher};
use super::{moving, trace};
use crate::broker::{BrokerError, Consumer, Delivery, History, Queue, Settlement};

pub(super) struct RabbitConsumer {
    link: Arc<Link>,
    channel: Channel,
    messages: lapin::Consumer,
    queue: Queue,
    publisher: Arc<Publisher>,
    sources: Sources,
    /// What is out unsettled.
    held: BTreeMap<u64, Held>,
}

/// What moving a message to another queue needs of it.
struct Held {
    properties: BasicProperties,
    history: History,
    body: Bytes,
}

/// A message that leaves for another queue, and why.
struct Move {
    tag: u64,
    to: To,
    reason: String,
}

enum To {
    Step(HumanDuration),
    Dead(Uuid),
}

impl Held {
    /// The letter for `queue`, another attempt having failed `now`.
    fn letter(&self, queue: Queue, to: &Move, now: DateTime<Utc>, frame_max: usize) -> Letter {
        let history = History {
            first_published_at: self.history.first_published_at.or(Some(now)),
            attempts: self.history.attempts.saturating_add(1),
            reason: Some(to.reason.clone()),
        };
        let mut headers = trace::headers(self.properties.headers().as_ref(), &history, frame_max);
        let queue = match to.to {
            To::Step(step) => queue.retry(step),
            To::Dead(id) => {
                trace::name_dead_letter(&mut headers, id, now);
                queue.dead()
            }
        };
        moving::letter(&queue, &self.properties, headers, self.body.to_vec())
    }
}

impl RabbitConsumer {
    pub(super) fn new(
        link: Arc<Link>,
        channel: Channel,
        messages: lapin::Consumer,
        queue: Queue,
        publisher: Arc<Publisher>,
        sources: Sources,
    ) -> Self {
        Self { link, channel, messages, queue, publisher, sources, held: BTreeMap::new() }
    }

    /// Takes a message in. The stream ends when the server cancels the consumer (the queue was
    /// deleted or moved) and when the channel or the connection is lost.
    fn take(
        &mut self,
        next: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<Delivery, BrokerError> {
        let message = next.ok_or_else(|| BrokerError::unavailable("the broker cancelled the consumer"))??;
        let tag = message.delivery_tag;
        let body = Bytes::from(message.data);
        let history = trace::history(&message.properties);
        let (redelivered, known) = (message.redelivered, history.clone());
        let delivery = Delivery { tag, body: body.clone(), redelivered, history };
        self.held.insert(tag, Held { properties: message.properties, history: known, body });
        Ok(delivery)
    }

    /// Publishes messages to the queues they leave for and waits for the confirms (law 3).
    async fn move_on(&self, leaving: &[Move]) -> Result<(), BrokerError> {
        if leaving.is_empty() {
            return Ok(());
        }
        let (frame_max, now) = (self.publisher.frame_max().await?, self.sources.clock.now());
        let letters = leaving.iter().filter_map(|leaving| {
            Some(Ok(self.held.get(&leaving.tag)?.letter(self.queue, leaving, now, frame_max)))
        });
        self.publisher.publish(letters.collect()).await.into_iter().collect()
    }

    /// Acknowledges `tags`: as one up to the first message that stays, then one by one.
    async fn ack(&mut self, tags: BTreeSet<u64>) -> Result<(), BrokerError> {
        let staying = self.held.keys().find(|tag| !tags.contains(tag)).copied().unwrap_or(u64::MAX);
        if let Some(last) = tags.range(..staying).next_back() {
            self.channel.basic_ack(*last, BasicAckOptions { multiple: true }).await?;
        }
        for tag in tags.range(staying..) {
            self.channel.basic_ack(*tag, BasicAckOptions { multiple: false }).await?;
        }
        self.held.retain(|tag, _| !tags.contains(tag));
        Ok(())
    }

    async fn requeue(&mut self, tags: Vec<u64>) -> Result<(), BrokerError> {
        for tag in tags {
            self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await?;
            self.held.remove(&tag);
        }
        Ok(())
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
        linger: Duration,
    ) -> Result<Vec<Delivery>, BrokerError> {
        let Ok(first) = timeout(wait, self.messages.next()).await else { return Ok(Vec::new()) };
        let mut batch = vec![self.take(first)?];
        let deadline = Instant::now() + linger;
        while batch.len() < max {
            // What is here already costs no timer.
            let next = match self.messages.next().now_or_never() {
                Some(next) => next,
                None if linger.is_zero() => break,
                None => match timeout_at(deadline, self.messages.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            batch.push(self.take(next)?);
        }
        Ok(batch)
    }

    async fn settle(&mut self, settlements: Vec<(u64, Settlement)>) -> Result<(), BrokerError> {
        let (mut acked, mut requeued, mut leaving) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (tag, settlement) in settlements.into_iter().filter(|(tag, _)| self.held.contains_key(tag)) {
            match settlement {
                Settlement::Ack => drop(acked.insert(tag)),
                Settlement::Requeue => requeued.push(tag),
                Settlement::Retry { step, reason } => leaving.push(Move { tag, to: To::Step(step), reason }),
                Settlement::DeadLetter { reason } => {
                    leaving.push(Move { tag, to: To::Dead(self.sources.ids.next()), reason });
                }
            }
        }
        // What is done is acknowledged first: a message that can't move keeps no other here.
        let link = self.link.clone();
        link.bounded(async {
            self.ack(acked).await?;
            self.requeue(requeued).await
        })
        .await?;
        self.move_on(&leaving).await?;
        let moved = leaving.into_iter().map(|leaving| leaving.tag).collect();
        link.bounded(self.ack(moved)).await
    }
}
