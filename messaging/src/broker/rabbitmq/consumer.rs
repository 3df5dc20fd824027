//! A consumer of one queue on a channel of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{BasicProperties, Channel};
use tokio::time::{Instant, timeout, timeout_at};

use super::dead_letter::{dead_letter, reason};
use super::link::Link;
use super::publisher::Publisher;
use crate::broker::{BrokerError, Consumer, Delivery, Settlement};

pub(super) struct RabbitConsumer {
    link: Arc<Link>,
    channel: Channel,
    messages: lapin::Consumer,
    queue: String,
    publisher: Arc<Publisher>,
    /// What is out unsettled.
    held: BTreeMap<u64, Held>,
}

/// What dead-lettering needs of a message.
struct Held {
    properties: BasicProperties,
    body: Bytes,
}

impl RabbitConsumer {
    pub(super) fn new(
        link: Arc<Link>,
        channel: Channel,
        messages: lapin::Consumer,
        queue: String,
        publisher: Arc<Publisher>,
    ) -> Self {
        Self { link, channel, messages, queue, publisher, held: BTreeMap::new() }
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
        let delivery = Delivery {
            tag,
            body: body.clone(),
            redelivered: message.redelivered,
            reason: reason(&message.properties),
        };
        self.held.insert(tag, Held { properties: message.properties, body });
        Ok(delivery)
    }

    /// Publishes the given-up messages to the dead-letter queue and waits for the confirms.
    async fn bury(&self, given_up: &[(u64, String)]) -> Result<(), BrokerError> {
        if given_up.is_empty() {
            return Ok(());
        }
        let frame_max = self.publisher.frame_max().await?;
        let queue = format!("{}.dead", self.queue);
        let letters = given_up.iter().filter_map(|(tag, reason)| {
            let Held { properties, body } = self.held.get(tag)?;
            Some(Ok(dead_letter(&queue, properties, body, reason, frame_max)))
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
        let (mut acked, mut requeued, mut given_up) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (tag, settlement) in settlements.into_iter().filter(|(tag, _)| self.held.contains_key(tag)) {
            match settlement {
                Settlement::Ack => drop(acked.insert(tag)),
                Settlement::Requeue => requeued.push(tag),
                Settlement::DeadLetter { reason } => given_up.push((tag, reason)),
            }
        }
        self.bury(&given_up).await?;
        acked.extend(given_up.into_iter().map(|(tag, _)| tag));
        let link = self.link.clone();
        link.bounded(async {
            self.ack(acked).await?;
            self.requeue(requeued).await
        })
        .await
    }
}
