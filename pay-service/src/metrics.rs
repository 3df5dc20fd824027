//! What the service counts, for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::outbox::OutboxStore;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};

use crate::domain::{Recharge, StatusName};

/// How often the backlog is measured.
pub const BACKLOG_PERIOD: Duration = Duration::from_secs(5);

/// The service's own metrics. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    recharges: IntCounterVec,
    backlog_rows: IntGauge,
    backlog_age: IntGauge,
}

impl Metrics {
    /// All at zero, in a registry of their own.
    pub fn new() -> Self {
        let metrics = Self::unregistered().expect("the names are constants of the right form");
        let Self { registry, recharges, backlog_rows, backlog_age } = &metrics;
        let all: [Box<dyn prometheus::core::Collector>; 3] =
            [Box::new(recharges.clone()), Box::new(backlog_rows.clone()), Box::new(backlog_age.clone())];
        for collector in all {
            registry.register(collector).expect("the names are different");
        }
        for status in StatusName::ALL {
            recharges.with_label_values(&[status.as_str()]);
        }
        metrics
    }

    fn unregistered() -> prometheus::Result<Self> {
        let recharges = Opts::new("ringback_recharges_total", "Recharges that came into this status");
        Ok(Self {
            registry: Registry::new(),
            recharges: IntCounterVec::new(recharges, &["status"])?,
            backlog_rows: IntGauge::new("ringback_outbox_rows", "Events that wait to be published")?,
            backlog_age: IntGauge::new(
                "ringback_outbox_oldest_seconds",
                "How long the oldest event has waited to be published",
            )?,
        })
    }

    /// What `/metrics` shows.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Counts a recharge that came into its status.
    pub fn count(&self, recharge: &Recharge) {
        self.recharges.with_label_values(&[recharge.status.name().as_str()]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Measures how much the outbox holds.
pub struct BacklogGauge {
    /// The outbox.
    pub outbox: Arc<dyn OutboxStore>,
    /// Tells how old its oldest row is.
    pub clock: SharedClock,
    /// Where it is shown.
    pub metrics: Metrics,
}

#[async_trait]
impl Worker for BacklogGauge {
    fn name(&self) -> &'static str {
        "outbox.backlog"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let (rows, oldest) = self.outbox.backlog().await?;
        let age = oldest.map_or(0, |oldest| (self.clock.now() - oldest).num_seconds().max(0));
        self.metrics.backlog_rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
        self.metrics.backlog_age.set(age);
        Ok(Progress::Idle)
    }
}
