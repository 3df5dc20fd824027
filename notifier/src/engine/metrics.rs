//! What the engine counts; [docs/metrics.md](../../../docs/metrics.md) tells what each is for.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::domain::{EventRefusal, Exchange, FailureClass, Outcome, Verdict};

/// Bounds in seconds: a healthy receiver answers within milliseconds, none is waited for longer than
/// the longest timeout.
const ATTEMPT_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bounds in seconds: milliseconds when all is well, hours when a subscription was paused.
const FIRST_ATTEMPT_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0, 86400.0];
/// Bounds in events: one when traffic is low, the intake's limit in a flood.
const BATCH_BUCKETS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// The engine's metrics. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    in_flight: IntGauge,
    max_in_flight: IntGauge,
    /// Attempts whose result could not be counted since their lease was over or taken over.
    pub leases_lost: IntCounter,
    /// Events that were not known before.
    pub events: IntCounter,
    expired: IntCounter,
    contradicted: IntCounter,
    /// Notifications made of them.
    pub notifications: IntCounter,
    attempts: IntCounterVec,
    verdicts: IntCounterVec,
    duration: HistogramVec,
    first_attempt: Histogram,
    batch: Histogram,
}

impl Metrics {
    /// Metrics that `registry` shows, with every label's value there from the start, so that a rate
    /// of what has not happened yet is zero and not missing.
    pub fn register(registry: &Registry, max_in_flight: u32) -> prometheus::Result<Self> {
        let metrics = Self::new()?;
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        metrics.max_in_flight.set(max_in_flight.into());
        let failures = FailureClass::ALL.into_iter().map(Outcome::Failed);
        for outcome in failures.chain([Outcome::Delivered, Outcome::Gone]) {
            metrics.attempts.with_label_values(&labels(outcome));
            metrics.duration.with_label_values(&[outcome.as_str()]);
        }
        for verdict in ["delivered", "retry", "exhausted", "gone"] {
            metrics.verdicts.with_label_values(&[verdict]);
        }
        Ok(metrics)
    }

    fn new() -> prometheus::Result<Self> {
        let attempts = Opts::new("ringback_attempts_total", "Attempts to deliver, by how they ended");
        let verdicts = Opts::new("ringback_verdicts_total", "Results that counted, by what followed");
        let histogram =
            |name: &str, help: &str, bounds: &[f64]| HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let duration =
            histogram("ringback_attempt_duration_seconds", "How long attempts took", &ATTEMPT_BUCKETS);
        Ok(Self {
            in_flight: IntGauge::new("ringback_attempts_in_flight", "Attempts under way")?,
            max_in_flight: IntGauge::new("ringback_attempts_in_flight_max", "The bound on them")?,
            leases_lost: IntCounter::new(
                "ringback_attempt_leases_lost_total",
                "Attempts whose result did not count since their lease was over or taken over",
            )?,
            events: IntCounter::new("ringback_events_total", "Events that were not known before")?,
            expired: IntCounter::new(
                "ringback_events_expired_total",
                "Events older than the log, which went to the dead letters",
            )?,
            contradicted: IntCounter::new(
                "ringback_events_contradicted_total",
                "Events with the source and id of another one and another content, which went to the dead letters",
            )?,
            notifications: IntCounter::new("ringback_notifications_total", "Notifications made")?,
            attempts: IntCounterVec::new(attempts, &["outcome", "failure_class"])?,
            verdicts: IntCounterVec::new(verdicts, &["verdict"])?,
            duration: HistogramVec::new(duration, &["outcome"])?,
            first_attempt: Histogram::with_opts(histogram(
                "ringback_event_to_first_attempt_seconds",
                "From the making of an event to the start of a notification's first attempt",
                &FIRST_ATTEMPT_BUCKETS,
            ))?,
            batch: Histogram::with_opts(histogram(
                "ringback_intake_batch_events",
                "How many events came in together",
                &BATCH_BUCKETS,
            ))?,
        })
    }

    fn collectors(&self) -> [Box<dyn Collector>; 12] {
        [
            Box::new(self.in_flight.clone()),
            Box::new(self.max_in_flight.clone()),
            Box::new(self.leases_lost.clone()),
            Box::new(self.events.clone()),
            Box::new(self.expired.clone()),
            Box::new(self.contradicted.clone()),
            Box::new(self.notifications.clone()),
            Box::new(self.attempts.clone()),
            Box::new(self.verdicts.clone()),
            Box::new(self.duration.clone()),
            Box::new(self.first_attempt.clone()),
            Box::new(self.batch.clone()),
        ]
    }

    /// Counts an attempt as under way until the answer is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an attempt that has ended.
    pub fn attempted(&self, exchange: &Exchange) {
        let outcome = exchange.outcome;
        self.attempts.with_label_values(&labels(outcome)).inc();
        self.duration.with_label_values(&[outcome.as_str()]).observe(exchange.duration.as_secs_f64());
    }

    /// Counts a result that was written.
    pub fn counted(&self, verdict: Verdict) {
        let word = match verdict {
            Verdict::Delivered => "delivered",
            Verdict::RetryAt(_) => "retry",
            Verdict::Exhausted => "exhausted",
            Verdict::Gone => "gone",
        };
        self.verdicts.with_label_values(&[word]).inc();
    }

    /// Counts the start of a first attempt, so long after its event.
    pub fn first_attempt(&self, after: Duration) {
        self.first_attempt.observe(after.as_secs_f64());
    }

    /// Counts an event that is not kept.
    pub fn refused(&self, refusal: &EventRefusal) {
        match refusal {
            EventRefusal::Expired => self.expired.inc(),
            EventRefusal::Contradicts(_) | EventRefusal::NoKeyLeft => self.contradicted.inc(),
        }
    }

    /// Counts events that came in together.
    pub fn batch(&self, events: usize) {
        self.batch.observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
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
