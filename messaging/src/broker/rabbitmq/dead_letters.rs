//! A dead-letter queue, looked through. A quorum queue can't be browsed: messages are taken, and
//! given back. One looks at a time, over all processes,
//! since what one has taken another would not see.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, message};
use runtime::http::Page;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::link::Link;
use super::outlet::is_locked;
use super::publisher::Publisher;
use super::{moving, trace};
use crate::broker::dead_letter::Newest;
use crate::broker::{BrokerError, DeadLetter, DeadLetters, History, Queue};

/// How many dead letters one look reaches. The oldest come first, so that younger ones are reached
/// when those have been dealt with.
const REACH: usize = 10_000;
/// How many are taken at once; bounds what is held in memory.
const CHUNK: u16 = 100;
/// How long one that must be there may take to arrive, or to be back; then another program has it.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How long another process's look is waited for.
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// How often the broker is asked for what takes its time.
const POLL: Duration = Duration::from_millis(20);

pub(super) struct RabbitDeadLetters {
    link: Arc<Link>,
    publisher: Arc<Publisher>,
    queue: Queue,
    turn: Arc<Mutex<()>>,
}

impl RabbitDeadLetters {
    /// `turn` keeps the looks of this process apart.
    pub(super) fn new(
        link: Arc<Link>,
        publisher: Arc<Publisher>,
        queue: Queue,
        turn: Arc<Mutex<()>>,
    ) -> Self {
        Self { link, publisher, queue, turn }
    }

    async fn look(&self) -> Result<Look, BrokerError> {
        let turn = self.turn.clone().lock_owned().await;
        Look::begin(self.link.clone(), self.queue.dead(), turn).await
    }

    /// Publishes `letter` to its queue as a fresh message and waits for the confirm.
    async fn publish(&self, letter: message::Delivery) -> Result<(), BrokerError> {
        let first_published_at = trace::history(&letter.properties).first_published_at;
        let history = History { first_published_at, ..History::default() };
        let frame_max = self.publisher.frame_max().await?;
        let headers = trace::headers(letter.properties.headers().as_ref(), &history, frame_max);
        let letter = moving::letter(self.queue.name, &letter.properties, headers, letter.data);
        self.publisher.publish(vec![Ok(letter)]).await.into_iter().collect()
    }
}

#[async_trait]
impl DeadLetters for RabbitDeadLetters {
    async fn list(&self, page: Page) -> Result<Vec<DeadLetter>, BrokerError> {
        let mut look = self.look().await?;
        let mut newest = Newest::of(page);
        while let Some(message) = look.next().await? {
            newest.offer(read(message));
        }
        look.end().await?;
        Ok(newest.into_list())
    }

    async fn find(&self, id: Uuid) -> Result<Option<DeadLetter>, BrokerError> {
        let mut look = self.look().await?;
        let found = look.find(id).await?;
        look.end().await?;
        Ok(found.map(read))
    }

    async fn requeue(&self, id: Uuid) -> Result<bool, BrokerError> {
        let mut look = self.look().await?;
        let found = look.find(id).await?;
        let is_there = found.is_some();
        if let Some(message) = found {
            let tag = message.delivery_tag;
            self.publish(message).await?;
            look.forget(tag).await?;
        }
        look.end().await?;
        Ok(is_there)
    }
}

fn id_of(message: &message::Delivery) -> Uuid {
    trace::dead_letter_id(&message.properties).unwrap_or_else(|| DeadLetter::id_of(&message.data))
}

fn read(message: message::Delivery) -> DeadLetter {
    DeadLetter {
        id: id_of(&message),
        size: message.data.len(),
        history: trace::history(&message.properties),
        dead_lettered_at: trace::dead_lettered_at(&message.properties),
        body: DeadLetter::excerpt(message.data),
    }
}

/// One look through a queue. When it is dropped its channel closes: everything it has taken and not
/// forgotten is back in the queue, and the next may look.
struct Look {
    link: Arc<Link>,
    channel: Channel,
    queue: ShortString,
    consumers: Vec<lapin::Consumer>,
    /// How many messages the last consumer has yet to bring.
    due: u32,
    seen: usize,
    /// How many are with this look.
    held: u32,
    /// Keeps other processes from looking.
    _lock: lapin::Consumer,
    /// Keeps the others of this process from it.
    _turn: OwnedMutexGuard<()>,
}

impl Look {
    async fn begin(link: Arc<Link>, queue: String, turn: OwnedMutexGuard<()>) -> Result<Self, BrokerError> {
        let (channel, lock) = take_turn(&link, &queue).await?;
        link.bounded(async { Ok(channel.basic_qos(CHUNK, BasicQosOptions::default()).await?) }).await?;
        let queue = ShortString::from(queue);
        Ok(Self {
            link,
            channel,
            queue,
            consumers: Vec::new(),
            due: 0,
            seen: 0,
            held: 0,
            _lock: lock,
            _turn: turn,
        })
    }

    async fn find(&mut self, id: Uuid) -> Result<Option<message::Delivery>, BrokerError> {
        while let Some(message) = self.next().await? {
            if id_of(&message) == id {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next message, oldest first; none when all have been seen that can be reached.
    async fn next(&mut self) -> Result<Option<message::Delivery>, BrokerError> {
        if self.due == 0 {
            self.due = self.waiting().await?.min(CHUNK.into());
            if self.due == 0 || self.seen >= REACH {
                return Ok(None);
            }
            let consumer = self.consume().await?;
            self.consumers.push(consumer);
        }
        let Some(consumer) = self.consumers.last_mut() else { return Ok(None) };
        let Ok(next) = timeout(ARRIVAL, consumer.next()).await else { return Ok(None) };
        let message = next.ok_or_else(|| BrokerError::unavailable("the broker cancelled the consumer"))??;
        (self.due, self.seen, self.held) = (self.due - 1, self.seen + 1, self.held + 1);
        Ok(Some(message))
    }

    /// How many messages are in the queue and with nobody.
    async fn waiting(&self) -> Result<u32, BrokerError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = self.channel.queue_declare(self.queue.clone(), options, FieldTable::default());
        self.link.bounded(async { Ok(asking.await?.message_count()) }).await
    }

    /// A consumer more: it brings up to [`CHUNK`] messages, since it is never told that it may go on.
    async fn consume(&self) -> Result<lapin::Consumer, BrokerError> {
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let consuming = self.channel.basic_consume(self.queue.clone(), tag, options, FieldTable::default());
        self.link.bounded(async { Ok(consuming.await?) }).await
    }

    async fn forget(&mut self, tag: u64) -> Result<(), BrokerError> {
        self.held -= 1;
        let acking = self.channel.basic_ack(tag, BasicAckOptions { multiple: false });
        self.link.bounded(async { Ok(acking.await?) }).await
    }

    /// Without consumers, to which it would only come again.
    async fn give_back(&self) -> Result<(), BrokerError> {
        for consumer in &self.consumers {
            self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        }
        let all = BasicNackOptions { multiple: true, requeue: true };
        Ok(self.channel.basic_nack(0, all).await?)
    }

    /// Gives everything back. The turn is over only when the queue has it, since the next to look
    /// would not see it otherwise.
    async fn end(self) -> Result<(), BrokerError> {
        self.link.bounded(self.give_back()).await?;
        let deadline = Instant::now() + ARRIVAL;
        while self.waiting().await? < self.held && Instant::now() < deadline {
            sleep(POLL).await;
        }
        let closing = self.channel.close(200, ShortString::from("looked through"));
        self.link.bounded(async { Ok(closing.await?) }).await
    }
}

/// A channel whose owner may look, and what it holds while it does: the consumer of an exclusive
/// queue whose name all agree on. The queue goes with its consumer, so with the channel at the latest.
async fn take_turn(link: &Link, queue: &str) -> Result<(Channel, lapin::Consumer), BrokerError> {
    let deadline = Instant::now() + TURN_PATIENCE;
    let name = ShortString::from(format!("{queue}.look"));
    loop {
        match link.bounded(async { Ok(try_turn(link, name.clone()).await) }).await? {
            Err(error) if is_locked(&error) && Instant::now() < deadline => sleep(POLL).await,
            answer => return Ok(answer?),
        }
    }
}

async fn try_turn(link: &Link, name: ShortString) -> Result<(Channel, lapin::Consumer), lapin::Error> {
    let channel = link.channel().await?;
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.clone(), own, FieldTable::default()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let lock = channel.basic_consume(name, ShortString::default(), options, FieldTable::default()).await?;
    Ok((channel, lock))
}
