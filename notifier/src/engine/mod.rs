//! The engine: events in, attempts out, results recorded.
//!
//! Fresh notifications go from [`Ingest`] straight to delivery while there is room; all else waits
//! in the database until the [`Dispatcher`] claims it. Nothing is kept in memory beyond the
//! attempts under way, and the next ones of those who answer quickly (`queue`).

mod admission;
mod attempt_span;
mod courier;
mod dispatcher;
mod ingest;
mod lane;
mod metrics;
mod pause;
mod publisher;
mod queue;
mod rate;
mod recorder;
mod returner;
mod room;
mod schedule;
mod slots;
#[cfg(test)]
mod testing;
mod width;

use std::sync::Arc;

use chrono::DateTime;
use prometheus::Registry;
use runtime::batcher::Batcher;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources, background};
use tokio_util::task::TaskTracker;

use crate::domain::DisableAfter;
use crate::store::DeliveryStore;
use crate::webhook::SendWebhook;

use courier::Courier;
use metrics::Metrics;
use recorder::Recorder;
use returner::Returner;
use slots::Slots;

pub use dispatcher::Dispatcher;
pub use ingest::Ingest;
pub use publisher::{PublishAnswer, PublishEvents, Published};
pub use schedule::Schedule;
pub use slots::Bounds;

/// The most results, or leases given back, that are written together.
const MAX_GROUP: usize = 500;

/// What the engine is made of.
pub struct EngineParts {
    /// Where everything is kept.
    pub store: Arc<dyn DeliveryStore>,
    /// What attempts are made with.
    pub sender: Arc<dyn SendWebhook>,
    /// Time and ids.
    pub sources: Sources,
    /// When to end.
    pub shutdown: Shutdown,
    /// What is told of attempts.
    pub spans: Spans,
    /// How many attempts may be under way at once in this process.
    pub max_in_flight: u32,
    /// For how long an endpoint must have failed before its subscription is disabled.
    pub disable_after: DisableAfter,
}

/// Delivers notifications until the soft stop.
pub struct Engine {
    store: Arc<dyn DeliveryStore>,
    sources: Sources,
    slots: Slots,
    courier: Arc<Courier>,
}

impl Engine {
    /// An engine whose metrics `registry` shows. Must be called inside of a tokio runtime, which
    /// its recorder runs in.
    pub fn new(parts: EngineParts, registry: &Registry) -> prometheus::Result<Self> {
        let wake = Arc::new(tokio::sync::Notify::new());
        let clock = parts.sources.clock.clone();
        let recorder = Recorder::new(parts.store.clone(), clock.clone(), parts.disable_after);
        let courier = Courier {
            sender: parts.sender,
            recorder: Batcher::spawn(recorder, MAX_GROUP),
            returner: Batcher::spawn(Returner::new(parts.store.clone(), clock.clone()), MAX_GROUP),
            schedule: Schedule::new(wake.clone()),
            clock,
            metrics: Metrics::register(registry, parts.max_in_flight)?,
            tasks: TaskTracker::new(),
            shutdown: parts.shutdown,
            spans: parts.spans,
        };
        let slots = Slots::new(parts.max_in_flight, wake);
        Ok(Self { store: parts.store, sources: parts.sources, slots, courier: Arc::new(courier) })
    }

    /// The handler for the intake of events.
    pub fn ingest(&self) -> Ingest {
        Ingest {
            store: self.store.clone(),
            slots: self.slots.clone(),
            courier: self.courier.clone(),
            sources: self.sources.clone(),
            width: None,
        }
    }

    /// The writer of events that come by HTTP. Must be called inside of a tokio runtime, which it runs in.
    pub fn publisher(&self) -> Batcher<PublishEvents> {
        Batcher::spawn(PublishEvents(self.ingest()), publisher::MAX_REQUESTS)
    }

    /// The worker that claims due work; [`Engine::run`] runs one.
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher {
            store: self.store.clone(),
            slots: self.slots.clone(),
            courier: self.courier.clone(),
            sources: self.sources.clone(),
            settle_at: DateTime::UNIX_EPOCH,
        }
    }

    /// Told by whoever makes notifications due: resend, replay, a subscription made active again.
    pub fn schedule(&self) -> Schedule {
        self.courier.schedule.clone()
    }

    /// What holds attempts back in this process.
    pub fn bounds(&self) -> Bounds {
        Bounds(self.slots.clone())
    }

    /// Claims and delivers until the soft stop, then lets the attempts under way finish and be
    /// recorded, until the hard stop at the latest.
    pub async fn run(self) {
        let shutdown = self.courier.shutdown.clone();
        let closing = async {
            shutdown.stopping().await;
            self.slots.close();
        };
        let wake = self.courier.schedule.wake();
        let claiming = background::run(self.dispatcher(), wake, dispatcher::POLL, shutdown.clone());
        tokio::join!(closing, claiming);
        self.finish().await;
    }

    /// Waits for the attempts under way.
    async fn finish(&self) {
        self.courier.tasks.close();
        self.courier.shutdown.unless_hard(self.courier.tasks.wait()).await;
    }
}
