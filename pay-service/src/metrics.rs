//! What the service counts, for Prometheus.

use prometheus::{IntCounterVec, Opts, Registry};

use crate::domain::{Recharge, StatusName};

/// The service's own metrics. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    recharges: IntCounterVec,
}

impl Metrics {
    /// All at zero, in a registry of their own.
    pub fn new() -> Self {
        let recharges = Opts::new("ringback_recharges_total", "Recharges that came into this status");
        let recharges = IntCounterVec::new(recharges, &["status"])
            .expect("the name and the label are constants of the right form");
        let registry = Registry::new();
        registry.register(Box::new(recharges.clone())).expect("it is the registry's first");
        for status in StatusName::ALL {
            recharges.with_label_values(&[status.as_str()]);
        }
        Self { registry, recharges }
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
