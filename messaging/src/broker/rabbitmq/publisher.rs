//! Publishing with pipelined confirms: a whole batch is sent before the first confirm is awaited.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::poll;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::link::{Line, Link};
use super::marks::is_not_found;
use super::outlet::Outlet;
use super::topology::{Part, Topology};
use crate::broker::{BrokerError, Queue};
use crate::event::{CONTENT_TYPE, Event, MAX_EVENT_BYTES};

/// Kept on the broker's disk (AMQP 0-9-1, basic properties).
pub(super) const PERSISTENT: u8 = 2;

/// The publishing side of the broker. One batch at a time, so that what the channel returns
/// belongs to the batch at hand.
pub(super) struct Publisher {
    line: Line,
    topology: Arc<Topology>,
    /// The queue without which nothing counts as published.
    required: Option<Queue>,
    open: tokio::sync::Mutex<Option<Open>>,
}

/// A channel in confirm mode.
struct Open {
    link: Arc<Link>,
    channel: Channel,
    /// Declared when the first event is published.
    outlet: Option<Outlet>,
}

/// What a batch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Events for everybody who is bound.
    Events,
    /// Messages that move to a queue by its name.
    Moves,
}

/// A message on its way.
pub(super) struct Letter {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

type Answer = Result<(), BrokerError>;
type Sending<'a> = Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send + 'a>>;

/// How far a letter of the batch has come.
enum Step<'a> {
    /// Handed to the connection, not written yet.
    Sending(Sending<'a>),
    /// Written; the broker has yet to confirm.
    Sent(PublisherConfirm),
    /// Answered without the broker.
    Over(BrokerError),
}

impl Letter {
    /// The message of `event`; refused when no receiver would take it.
    pub(super) fn event(event: &Event, exchange: &str, headers: FieldTable) -> Result<Self, BrokerError> {
        let body = event.to_json();
        if body.len() > MAX_EVENT_BYTES {
            return Err(BrokerError::TooLarge);
        }
        let short = |text: &str| ShortString::try_new(text.to_owned()).map_err(|_| BrokerError::Refused);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short(&event.id)?)
            .with_type(short(&event.kind)?)
            .with_timestamp(u64::try_from(event.time.timestamp()).unwrap_or(0));
        Ok(Self { exchange: short(exchange)?, routing_key: short(&event.kind)?, properties, body })
    }

    /// What tells a returned message: one of the batch with the same id and routing key is as
    /// unroutable as this one.
    fn mark(&self) -> Mark {
        (self.properties.message_id().clone(), self.routing_key.clone())
    }
}

type Mark = (Option<ShortString>, ShortString);

impl Publisher {
    pub(super) fn new(line: Line, topology: Arc<Topology>, required: Option<Queue>) -> Self {
        Self { line, topology, required, open: tokio::sync::Mutex::default() }
    }

    /// The exchange that events are published to.
    pub(super) fn exchange(&self) -> &str {
        if self.required.is_some() { self.topology.publish_exchange() } else { self.topology.exchange() }
    }

    /// Whether the broker would take messages now.
    pub(super) async fn check(&self) -> Result<(), BrokerError> {
        let link = self.line.link().await?;
        if link.is_blocked() { Err(blocked()) } else { Ok(()) }
    }

    /// The largest frame the broker takes, in bytes.
    pub(super) async fn frame_max(&self) -> Result<usize, BrokerError> {
        Ok(self.line.link().await?.frame_max())
    }

    /// Publishes events. None counts as published unless the required queue has all that were confirmed.
    pub(super) async fn publish_events(&self, letters: Vec<Result<Letter, BrokerError>>) -> Vec<Answer> {
        self.publish_batch(letters, Kind::Events).await
    }

    /// Publishes letters to queues by their names.
    pub(super) async fn publish(&self, letters: Vec<Result<Letter, BrokerError>>) -> Vec<Answer> {
        self.publish_batch(letters, Kind::Moves).await
    }

    /// Publishes a batch; letters that were refused beforehand keep that answer.
    async fn publish_batch(&self, letters: Vec<Result<Letter, BrokerError>>, kind: Kind) -> Vec<Answer> {
        if letters.is_empty() {
            return Vec::new();
        }
        let mut slot = self.open.lock().await;
        // Taken out: a batch that fails or is dropped half-way takes its channel along, so that no
        // late confirm or return can be mistaken for one of the next batch.
        let open = match self.open(slot.take(), kind).await {
            Ok(open) => open,
            Err(error) => return all_failed(letters, &error),
        };
        let deadline = open.link.deadline();
        let mut answers = publish_on(&open.channel, letters, deadline).await;
        if kind == Kind::Events {
            self.prove(&open, &mut answers, deadline).await;
        }
        let lost = answers.iter().any(|answer| matches!(answer, Err(BrokerError::Unavailable(_))));
        if !lost {
            *slot = Some(open.without_useless_outlet(&answers));
        } else if Instant::now() >= deadline && !open.link.is_blocked() {
            open.link.cut();
        }
        answers
    }

    /// Takes the confirms back unless the outlet shows that they cover the required queue.
    async fn prove(&self, open: &Open, answers: &mut [Answer], deadline: Instant) {
        if answers.iter().any(names_a_missing_exchange) {
            self.topology.lost(Part::Exchange, self.exchange());
        }
        let Some(outlet) = open.outlet.as_ref().filter(|_| answers.iter().any(Result::is_ok)) else { return };
        let proof = timeout_at(deadline, outlet.prove(&open.channel)).await;
        if let Err(error) = proof.unwrap_or_else(|elapsed| Err(BrokerError::unavailable(elapsed))) {
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(again(&error));
            }
        }
    }

    /// The channel at hand if it is in order, else a new one; for events with what they need declared.
    async fn open(&self, present: Option<Open>, kind: Kind) -> Result<Open, BrokerError> {
        let link = self.line.link().await?;
        if link.is_blocked() {
            return Err(blocked());
        }
        let usable = |open: &Open| Arc::ptr_eq(&open.link, &link) && open.channel.status().connected();
        let opening = async {
            let present = present.filter(usable);
            let mut open =
                if let Some(open) = present { open } else { self.new_channel(&link, kind).await? };
            if let (Kind::Events, Some(required)) = (kind, self.required) {
                match &mut open.outlet {
                    Some(outlet) => outlet.assert(&link).await?,
                    None => open.outlet = Some(Outlet::open(&link, self.topology.clone(), required).await?),
                }
            }
            Ok(open)
        };
        link.bounded(opening).await
    }

    async fn new_channel(&self, link: &Arc<Link>, kind: Kind) -> Result<Open, BrokerError> {
        if kind == Kind::Events && self.required.is_none() {
            self.topology.declare_exchange(link).await?;
        }
        let channel = link.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Open { link: link.clone(), channel, outlet: None })
    }

    /// Ends the connection in order.
    pub(super) async fn close(&self) {
        // Nobody publishes any more; a batch under way would only be in the way.
        let open = self.open.try_lock().ok().and_then(|mut open| open.take());
        self.line.close().await;
        drop(open);
    }
}

impl Open {
    /// An event that comes back as unroutable shows that the outlet's bindings are gone.
    fn without_useless_outlet(mut self, answers: &[Answer]) -> Self {
        if answers.iter().any(|answer| matches!(answer, Err(BrokerError::Unroutable))) {
            self.outlet = None;
        }
        self
    }
}

fn names_a_missing_exchange(answer: &Answer) -> bool {
    let Err(BrokerError::Unavailable(source)) = answer else { return false };
    source.downcast_ref::<lapin::Error>().is_some_and(is_not_found)
}

fn blocked() -> BrokerError {
    BrokerError::unavailable("the broker blocks publishers (memory or disk alarm)")
}

fn all_failed(letters: Vec<Result<Letter, BrokerError>>, error: &BrokerError) -> Vec<Answer> {
    letters.into_iter().map(|letter| Err(letter.err().unwrap_or_else(|| again(error)))).collect()
}

/// The same error for another letter of the batch.
fn again(error: &BrokerError) -> BrokerError {
    match error {
        BrokerError::Conflict(text) => BrokerError::Conflict(text.clone()),
        BrokerError::Unavailable(source) => {
            BrokerError::unavailable(runtime::problem::Chain(&**source).to_string())
        }
        error => BrokerError::unavailable(runtime::problem::Chain(error).to_string()),
    }
}

async fn publish_on(
    channel: &Channel,
    letters: Vec<Result<Letter, BrokerError>>,
    deadline: Instant,
) -> Vec<Answer> {
    let mut marks = Vec::with_capacity(letters.len());
    let mut steps = Vec::with_capacity(letters.len());
    for letter in letters {
        marks.push(letter.as_ref().ok().map(Letter::mark));
        steps.push(match letter {
            Ok(letter) => send(channel, letter).await,
            Err(error) => Step::Over(error),
        });
    }
    let mut returned = HashSet::new();
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.push(match timeout_at(deadline, confirmed(step, &mut returned)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(BrokerError::unavailable(elapsed)),
        });
    }
    for (answer, mark) in answers.iter_mut().zip(marks) {
        if answer.is_ok() && mark.is_some_and(|mark| returned.contains(&mark)) {
            *answer = Err(BrokerError::Unroutable);
        }
    }
    answers
}

/// Hands a letter to the connection in the order of the batch, without waiting for it to be
/// written. Polling once is what hands it over.
async fn send(channel: &Channel, letter: Letter) -> Step<'_> {
    let mut sending: Sending<'_> = Box::pin(async move {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let Letter { exchange, routing_key, properties, body } = letter;
        channel.basic_publish(exchange, routing_key, options, &body, properties).await
    });
    match poll!(sending.as_mut()) {
        Poll::Pending => Step::Sending(sending),
        Poll::Ready(Ok(confirm)) => Step::Sent(confirm),
        Poll::Ready(Err(error)) => Step::Over(error.into()),
    }
}

/// Waits for the broker's word. The library hands a returned message to whichever confirm comes
/// next, which need not be its own, so returns are only collected here.
async fn confirmed(step: Step<'_>, returned: &mut HashSet<Mark>) -> Answer {
    let confirm = match step {
        Step::Sending(sending) => sending.await?,
        Step::Sent(confirm) => confirm,
        Step::Over(error) => return Err(error),
    };
    match confirm.await? {
        Confirmation::Ack(message) => {
            if let Some(message) = message {
                let id = message.delivery.properties.message_id().clone();
                returned.insert((id, message.delivery.routing_key.clone()));
            }
            Ok(())
        }
        Confirmation::Nack(_) => Err(BrokerError::Refused),
        Confirmation::NotRequested => Err(BrokerError::unavailable("the channel is not in confirm mode")),
    }
}
