//! The clock in metrics.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry};

use super::SharedClock;

/// Shows in `registry` how far `clock` is ahead of what is trusted, and how often it has stepped.
pub fn register_clock_metrics(registry: &Registry, clock: SharedClock) -> prometheus::Result<()> {
    registry.register(Box::new(ClockMetrics {
        clock,
        ahead: IntGauge::new(
            "ringback_clock_ahead_seconds",
            "How far the machine's clock is ahead of the time that is trusted; 0 while it is trusted",
        )?,
        steps: IntCounter::new("ringback_clock_steps_total", "Steps of the time that is trusted")?,
    }))
}

/// Read when it is asked for.
struct ClockMetrics {
    clock: SharedClock,
    ahead: IntGauge,
    steps: IntCounter,
}

impl Collector for ClockMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.ahead.desc(), self.steps.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let ahead = self.clock.distrust().map_or(0, |distrust| distrust.ahead.num_seconds());
        self.ahead.set(ahead);
        self.steps.inc_by(self.clock.timeline().steps().saturating_sub(self.steps.get()));
        [self.ahead.collect(), self.steps.collect()].concat()
    }
}
