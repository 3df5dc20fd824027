//! A durable broker in one `SQLite` file, for the embedded footing: the semantics of the `RabbitMQ`
//! one, usable by several processes at once.
//!
//! A message that is handed out carries its consumer's id. A consumer that holds messages is seen
//! alive every second; one that is not for [`DEAD_AFTER`] has died with its process, and whoever
//! polls next gives its messages back. A consumer that is dropped gives them back at once.

mod consumer;
mod dead_letters;
mod presence;
mod settling;
mod store;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prometheus::{IntCounter, Registry};
use runtime::clock::StepWatch;
use runtime::database::open_sqlite;
use runtime::duration::HumanDuration;
use runtime::{Ids, Sources};
use tokio::sync::Notify;

use self::consumer::SqliteConsumer;
use self::dead_letters::SqliteDeadLetters;
use self::presence::Presence;
use self::store::{Made, Store};
use super::{Broker, BrokerError, Consumer, DeadLetters, Queue, losses_counter, topic};
use crate::event::{Event, MAX_EVENT_BYTES};

/// How long a consumer that holds messages may go unseen before it counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// How often a consumer looks for messages that other processes have published.
const POLL: Duration = Duration::from_millis(250);

/// A broker in a file that several processes may share.
pub struct SqliteBroker {
    shared: Arc<Shared>,
    presence: Presence,
    /// The queue that must receive every event.
    required: Option<Queue>,
    losses: IntCounter,
}

/// What the broker shares with its consumers.
struct Shared {
    store: Store,
    ids: Arc<Ids>,
    steps: Mutex<StepWatch>,
    wakes: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Shared {
    /// Looks at the times of messages and consumers when the clock has stepped.
    async fn clamp(&self) -> Result<(), BrokerError> {
        let steps = || self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(due) = steps().due() else { return Ok(()) };
        self.store.clamp().await?;
        steps().checked(due);
        Ok(())
    }

    /// What rings when this process puts a message into `queue`.
    fn wake(&self, queue: &str) -> Arc<Notify> {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.entry(queue.to_owned()).or_default().clone()
    }
}

impl SqliteBroker {
    /// Opens `file`, making and migrating it when needed.
    pub async fn open(file: &Path, sources: &Sources) -> Result<Self, BrokerError> {
        let db = open_sqlite(file).await.map_err(BrokerError::unavailable)?;
        let store = Store::migrated(db, sources.clock.clone()).await?;
        let presence = Presence::spawn(store.clone());
        let (ids, steps) = (sources.ids.clone(), Mutex::new(store.step_watch()));
        let shared = Arc::new(Shared { store, ids, steps, wakes: Mutex::default() });
        Ok(Self { shared, presence, required: None, losses: losses_counter() })
    }

    /// The same broker, which publishes nothing past `queue`.
    #[must_use]
    pub fn requiring(mut self, queue: Queue) -> Self {
        self.required = Some(queue);
        self
    }

    /// The bindings, with that of the required queue among them.
    async fn bindings(&self) -> Result<Vec<(String, String)>, BrokerError> {
        let bindings = self.shared.store.bindings().await?;
        let is_bound = |queue: &Queue| {
            bindings.iter().any(|(name, pattern)| name == queue.name && pattern == queue.binding)
        };
        let Some(queue) = self.required.filter(|queue| !is_bound(queue)) else { return Ok(bindings) };
        if self.shared.store.declare(queue).await? == Made::Binding {
            self.losses.inc();
            tracing::warn!(part = "binding", name = queue.name, "broker.topology_lost");
        }
        self.shared.store.bindings().await
    }

    /// Which queues each event goes to, by position.
    async fn route(&self, events: &[Event]) -> Result<Vec<Vec<String>>, BrokerError> {
        let bindings = self.bindings().await?;
        Ok(events.iter().map(|event| targets(&bindings, &event.kind)).collect())
    }

    async fn try_publish(&self, events: &[Event]) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        let routes = self.route(events).await?;
        let mut answers = Vec::with_capacity(events.len());
        let mut copies = Vec::new();
        for (event, queues) in events.iter().zip(&routes) {
            let body = event.to_json_text();
            answers.push(match queues.as_slice() {
                _ if body.len() > MAX_EVENT_BYTES => Err(BrokerError::TooLarge),
                [] => Err(BrokerError::Unroutable),
                queues => {
                    copies.extend(queues.iter().map(|queue| (queue.as_str(), body.clone())));
                    Ok(())
                }
            });
        }
        self.shared.store.put(&copies).await?;
        for (queue, _) in &copies {
            self.shared.wake(queue).notify_waiters();
        }
        Ok(answers)
    }
}

/// The queues whose bindings take `kind`, each once.
fn targets(bindings: &[(String, String)], kind: &str) -> Vec<String> {
    let bound = bindings.iter().filter(|(_, pattern)| topic::matches(pattern, kind));
    let mut queues: Vec<String> = bound.map(|(queue, _)| queue.clone()).collect();
    queues.sort_unstable();
    queues.dedup();
    queues
}

#[async_trait]
impl Broker for SqliteBroker {
    async fn declare(&self, queue: Queue) -> Result<(), BrokerError> {
        self.shared.store.declare(queue).await.map(drop)
    }

    async fn declare_steps(&self, queue: Queue, steps: &[HumanDuration]) -> Result<(), BrokerError> {
        self.shared.store.declare_steps(queue, steps).await
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        self.try_publish(events).await.unwrap_or_else(|error| {
            let message = runtime::problem::Chain(&error).to_string();
            events.iter().map(|_| Err(BrokerError::unavailable(message.clone()))).collect()
        })
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.declare(queue).await?;
        let seat = self.presence.take_seat(self.shared.ids.next());
        Ok(Box::new(SqliteConsumer::new(self.shared.clone(), seat, queue.name.to_owned(), prefetch)))
    }

    async fn dead_letters(&self, queue: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        self.declare(queue).await?;
        Ok(Box::new(SqliteDeadLetters::new(self.shared.clone(), queue)))
    }

    async fn check(&self) -> Result<(), BrokerError> {
        self.shared.store.bindings().await?;
        self.shared.store.takes_writes().await
    }

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.losses.clone()))
    }
}
