//! The keys in metrics.

use std::sync::PoisonError;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::{Keyring, Role};

/// Shows in `registry` how many keys there are, and whether `KEYS_FILE` is used as it stands.
pub fn register_key_metrics(registry: &Registry, keyring: Keyring) -> prometheus::Result<()> {
    let keys = Opts::new("ringback_keys", "Keys of callers, of the settings and of KEYS_FILE");
    let refused = "Whether KEYS_FILE can't be used as it stands, so that its last good keys count";
    registry.register(Box::new(KeyMetrics {
        keyring,
        keys: IntGaugeVec::new(keys, &["role"])?,
        refused: IntGauge::new("ringback_keys_file_refused", refused)?,
    }))
}

/// Read when it is asked for.
struct KeyMetrics {
    keyring: Keyring,
    keys: IntGaugeVec,
    refused: IntGauge,
}

impl Collector for KeyMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.keys.desc(), self.refused.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for role in [Role::Operator, Role::Merchant] {
            let count = i64::try_from(self.keyring.count(role)).unwrap_or(i64::MAX);
            self.keys.with_label_values(&[role.as_str()]).set(count);
        }
        let failed = self
            .keyring
            .file()
            .is_some_and(|file| file.state.lock().unwrap_or_else(PoisonError::into_inner).failure.is_some());
        self.refused.set(failed.into());
        [self.keys.collect(), self.refused.collect()].concat()
    }
}
