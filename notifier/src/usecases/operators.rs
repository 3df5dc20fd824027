//! What operators are told: how much waits, as metrics and as events, and the relay that publishes
//! those events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::broker::NOTIFIER_EVENTS;
use messaging::outbox::OutboxGauge;
use messaging::{Broker, Relay};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{bounded, bounded_upkeep};
use runtime::startup::until_open;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources, background};
use tokio::sync::Notify;

use crate::domain::backlog::{Limits, Waiting};
use crate::domain::health::{HealthState, Unwell};
use crate::domain::notification::StateName;
use crate::store::Store;

/// How often each process looks at the measurement of what waits.
const BACKLOG_POLL: Duration = Duration::from_secs(15);
/// Nobody rings the relay: operators can wait a second.
const RELAY_POLL: Duration = Duration::from_secs(1);

/// The workers that tell operators.
pub struct Operators {
    /// Measures what waits.
    pub backlog: MeasureBacklog,
    /// Publishes what operators are told.
    pub relay: Relay,
    gauge: OutboxGauge,
    broker: Arc<dyn Broker>,
}

impl Operators {
    /// Workers whose metrics `registry` shows.
    pub fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        (sources, spans): (Sources, Spans),
        limits: Limits,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let outbox = store.outbox();
        Ok(Self {
            gauge: OutboxGauge::register(registry, outbox.clone(), sources.clock.clone())?,
            relay: Relay::new(outbox, broker.clone(), sources.clone()).with_spans(spans),
            backlog: MeasureBacklog { store, sources, limits, gauges: Gauges::register(registry)? },
            broker,
        })
    }

    /// Runs them until the soft stop.
    pub async fn run(self, shutdown: Shutdown) {
        let never = || Arc::new(Notify::new());
        let publishing = async {
            // An event that no queue takes comes back as unroutable.
            let declared = until_open("broker", &shutdown, || self.broker.declare(NOTIFIER_EVENTS)).await;
            if declared.is_some() {
                background::run(self.relay, never(), RELAY_POLL, shutdown.clone()).await;
            }
        };
        tokio::join!(
            publishing,
            background::run(self.gauge, never(), OutboxGauge::POLL, shutdown.clone()),
            background::run(self.backlog, never(), BACKLOG_POLL, shutdown.clone()),
        );
    }
}

/// Has what waits measured, once for all processes, and shows what was found last.
pub struct MeasureBacklog {
    store: Arc<dyn Store>,
    sources: Sources,
    limits: Limits,
    gauges: Gauges,
}

#[async_trait]
impl Worker for MeasureBacklog {
    fn name(&self) -> &'static str {
        "notifier.backlog"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let Sources { clock, ids, .. } = &self.sources;
        let measured =
            bounded_upkeep(self.store.measure_backlog(&self.limits, ids.next(), clock.now())).await;
        let waiting = bounded(self.store.waiting()).await?;
        self.gauges.show(&waiting, clock.now());
        self.gauges.show_unwell(bounded(self.store.unwell()).await?);
        measured?;
        Ok(Progress::Idle)
    }
}

/// What waits, as metrics.
struct Gauges {
    waiting: IntGaugeVec,
    oldest: IntGaugeVec,
    overdue: IntGauge,
    measured_at: IntGauge,
    unwell: IntGaugeVec,
}

impl Gauges {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let waiting = Opts::new("ringback_notifications_waiting", "Notifications that are not final");
        let oldest =
            Opts::new("ringback_oldest_waiting_seconds", "How long the oldest of them has been here");
        let unwell = Opts::new(
            "ringback_subscriptions_unwell",
            "Active subscriptions whose last attempt failed, that are unreachable, or that the receiver paused",
        );
        let gauges = Self {
            unwell: IntGaugeVec::new(unwell, &["health"])?,
            waiting: IntGaugeVec::new(waiting, &["state"])?,
            oldest: IntGaugeVec::new(oldest, &["state"])?,
            overdue: IntGauge::new(
                "ringback_overdue_seconds",
                "How long the notification that is due the longest has waited for its attempt to begin",
            )?,
            measured_at: IntGauge::new(
                "ringback_waiting_measured_timestamp_seconds",
                "When the notifications that are not final were counted",
            )?,
        };
        registry.register(Box::new(gauges.waiting.clone()))?;
        registry.register(Box::new(gauges.oldest.clone()))?;
        registry.register(Box::new(gauges.overdue.clone()))?;
        registry.register(Box::new(gauges.measured_at.clone()))?;
        registry.register(Box::new(gauges.unwell.clone()))?;
        gauges.show(&Waiting::default(), DateTime::UNIX_EPOCH);
        gauges.show_unwell(Unwell::default());
        Ok(gauges)
    }

    fn show_unwell(&self, unwell: Unwell) {
        for (state, count) in [
            (HealthState::Failing, unwell.failing),
            (HealthState::Unreachable, unwell.unreachable),
            (HealthState::PausedByReceiver, unwell.paused_by_receiver),
        ] {
            let gauge = self.unwell.with_label_values(&[state.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn show(&self, waiting: &Waiting, now: DateTime<Utc>) {
        let age = |since: Option<DateTime<Utc>>| since.map_or(0, |since| (now - since).num_seconds().max(0));
        let set = |gauge: &IntGaugeVec, state: StateName, value: i64| {
            gauge.with_label_values(&[state.as_str()]).set(value);
        };
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        set(&self.waiting, StateName::Pending, count(waiting.pending));
        set(&self.waiting, StateName::Delivering, count(waiting.delivering));
        set(&self.waiting, StateName::Held, count(waiting.held));
        set(&self.oldest, StateName::Pending, age(waiting.oldest_pending_at));
        set(&self.oldest, StateName::Held, age(waiting.oldest_held_at));
        self.overdue.set(age(waiting.due_at));
        self.measured_at.set(waiting.measured_at.map_or(0, |at| at.timestamp()));
    }
}
