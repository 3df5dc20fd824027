//! An engine with everything around it that a test turns by hand.

use std::sync::Arc;
use std::time::Duration;

use messaging::Event;
use messaging::consumer::{HandleEvents, Verdict};
use notifier::domain::directory::Entry;
use notifier::domain::subscription::Draft;
use notifier::domain::{
    Directory, DisableAfter, Schedule, SigningSecret, Subscription, SubscriptionId, SubscriptionState,
};
use notifier::engine::{Dispatcher, Engine, EngineParts, Ingest};
use prometheus::Registry;
use runtime::background::{Progress, Worker};
use runtime::testing::{ManualClock, manual_sources};
use runtime::trace::Spans;
use runtime::{Clock, Shutdown, Sources};
use serde_json::json;
use uuid::Uuid;

use super::memory::MemoryStore;
use super::{client, secret};

/// The n-th subscription of a rig.
pub fn id(n: usize) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(n as u128 + 1))
}

/// A subscription to everything, as a draft to be changed.
pub fn draft(url: &str) -> Draft {
    let mut draft = Draft::new("test", url, vec!["*".into()]);
    draft.timeout = "5s".parse().expect("a duration");
    draft
}

/// A draft with this ladder.
pub fn climbing(url: &str, steps: &[&str]) -> Draft {
    let steps = steps.iter().map(|step| step.parse().expect("a duration")).collect();
    Draft { schedule: Schedule::Steps(steps), ..draft(url) }
}

/// An engine, its store and its clock.
pub struct Rig {
    pub clock: ManualClock,
    pub store: Arc<MemoryStore>,
    pub shutdown: Shutdown,
    pub registry: Registry,
    pub sources: Sources,
    pub ingest: Ingest,
    pub dispatcher: Dispatcher,
    pub engine: Engine,
}

impl Rig {
    /// An engine for subscriptions of these drafts, with room for `max_in_flight` attempts.
    pub fn with_room(max_in_flight: u32, drafts: Vec<Draft>) -> Self {
        Self::of(max_in_flight, Spans::off(), drafts)
    }

    /// An engine for subscriptions of these drafts, which tells `spans` of its attempts.
    pub fn traced(spans: Spans, drafts: Vec<Draft>) -> Self {
        Self::of(256, spans, drafts)
    }

    fn of(max_in_flight: u32, spans: Spans, drafts: Vec<Draft>) -> Self {
        let (sources, clock) = manual_sources(1);
        let entries = drafts.into_iter().enumerate().map(|(n, draft)| entry(n, draft, &clock));
        let store = MemoryStore::with(Directory::new(entries.collect()));
        let (shutdown, registry) = (Shutdown::new(), Registry::new());
        let parts = EngineParts {
            store: store.clone(),
            sender: Arc::new(client(&clock)),
            sources: sources.clone(),
            shutdown: shutdown.clone(),
            spans,
            max_in_flight,
            disable_after: DisableAfter::default(),
        };
        let engine = Engine::new(parts, &registry).expect("an engine");
        let (ingest, dispatcher) = (engine.ingest(), engine.dispatcher());
        Self { clock, store, shutdown, registry, sources, ingest, dispatcher, engine }
    }

    /// An engine for subscriptions of these drafts.
    pub fn new(drafts: Vec<Draft>) -> Self {
        Self::with_room(256, drafts)
    }

    /// A fresh event.
    pub fn event(&self) -> Event {
        let data = json!({"n": 1});
        Event::new(self.sources.ids.next(), "/test", "order.paid", self.clock.now(), &data).expect("an event")
    }

    /// Takes in `count` fresh events.
    pub async fn take_in(&mut self, count: usize) {
        let events: Vec<Event> = (0..count).map(|_| self.event()).collect();
        let verdicts = self.ingest.handle(events).await.expect("taken in");
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done));
    }

    /// Dispatcher rounds until there is nothing to do.
    pub async fn dispatch(&mut self) {
        for _ in 0..1000 {
            if self.dispatcher.run_once().await.expect("a round") != Progress::More {
                return;
            }
        }
        panic!("the dispatcher does not come to rest");
    }

    /// Moves the clock, then lets the dispatcher work.
    pub async fn after(&mut self, time: Duration) {
        self.clock.advance(time);
        self.dispatch().await;
    }

    /// Lets attempts whose results are written end, so that their slots are free.
    pub async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a metric");
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }
}

fn entry(n: usize, draft: Draft, clock: &ManualClock) -> Entry {
    let subscription = Subscription {
        id: id(n),
        merchant: None,
        definition: draft.check().expect("a valid draft"),
        state: SubscriptionState::Active,
        created_at: clock.now(),
        updated_at: clock.now(),
    };
    let secrets = vec![SigningSecret { key: secret(1).into(), expires_at: None }];
    Entry::new(&subscription, secrets)
}
