//! What the engine counts.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, exponential_buckets,
};

use crate::domain::{Exchange, FailureClass, Outcome};

/// The engine's metrics.
#[derive(Clone)]
pub struct Metrics {
    in_flight: IntGauge,
    /// Attempts whose result could not be counted since their lease was over or taken over.
    pub leases_lost: IntCounter,
    /// Events that were not known before.
    pub events: IntCounter,
    /// Notifications made of them.
    pub notifications: IntCounter,
    attempts: IntCounterVec,
    duration: Histogram,
    first_attempt: Histogram,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let attempts = Opts::new("ringback_attempts_total", "Attempts to deliver, by how they ended");
        let seconds = |name: &str, help: &str, start: f64| {
            let buckets = exponential_buckets(start, 2.0, 16)?;
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
        };
        let metrics = Self {
            in_flight: IntGauge::new("ringback_attempts_in_flight", "Attempts under way")?,
            leases_lost: IntCounter::new(
                "ringback_attempt_leases_lost_total",
                "Attempts whose result did not count since their lease was over or taken over",
            )?,
            events: IntCounter::new("ringback_events_total", "Events that were not known before")?,
            notifications: IntCounter::new("ringback_notifications_total", "Notifications made")?,
            attempts: IntCounterVec::new(attempts, &["outcome", "failure_class"])?,
            duration: seconds("ringback_attempt_duration_seconds", "How long attempts took", 0.001)?,
            first_attempt: seconds(
                "ringback_event_to_first_attempt_seconds",
                "From the making of an event to the start of a notification's first attempt",
                0.001,
            )?,
        };
        metrics.show(registry)?;
        Ok(metrics)
    }

    fn show(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.leases_lost.clone()))?;
        registry.register(Box::new(self.events.clone()))?;
        registry.register(Box::new(self.notifications.clone()))?;
        registry.register(Box::new(self.attempts.clone()))?;
        registry.register(Box::new(self.duration.clone()))?;
        registry.register(Box::new(self.first_attempt.clone()))
    }

    /// Counts an attempt as under way until the answer is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an attempt that has ended.
    pub fn attempted(&self, exchange: &Exchange) {
        self.attempts.with_label_values(&labels(exchange.outcome)).inc();
        self.duration.observe(exchange.duration.as_secs_f64());
    }

    /// Counts the start of a first attempt, so long after its event.
    pub fn first_attempt(&self, after: Duration) {
        self.first_attempt.observe(after.as_secs_f64());
    }
}

/// An attempt under way.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn labels(outcome: Outcome) -> [&'static str; 2] {
    [outcome.as_str(), outcome.failure_class().map_or("none", FailureClass::as_str)]
}
