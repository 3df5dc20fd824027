//! How much an outbox holds, as `/metrics` shows it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus::{IntGauge, Registry};
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::bounded;
use tokio::time::Instant;

use super::OutboxStore;

/// How often an outbox is measured at the most.
const PERIOD: Duration = Duration::from_secs(5);

/// Measures what an outbox holds. Run it with [`runtime::background::run`] and [`OutboxGauge::POLL`].
pub struct OutboxGauge {
    outbox: Arc<dyn OutboxStore>,
    clock: SharedClock,
    rows: IntGauge,
    oldest: IntGauge,
}

impl OutboxGauge {
    /// How long the gauge rests at the most.
    pub const POLL: Duration = Duration::from_mins(5);

    /// A gauge of `outbox` that `registry` shows.
    pub fn register(
        registry: &Registry,
        outbox: Arc<dyn OutboxStore>,
        clock: SharedClock,
    ) -> prometheus::Result<Self> {
        let rows = IntGauge::new("ringback_outbox_rows", "Events that wait to be published")?;
        let oldest = IntGauge::new(
            "ringback_outbox_oldest_seconds",
            "How long the oldest event has waited to be published",
        )?;
        registry.register(Box::new(rows.clone()))?;
        registry.register(Box::new(oldest.clone()))?;
        Ok(Self { outbox, clock, rows, oldest })
    }
}

#[async_trait]
impl Worker for OutboxGauge {
    fn name(&self) -> &'static str {
        "outbox.gauge"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let began = Instant::now();
        let (rows, oldest) = bounded(self.outbox.backlog()).await?;
        let age = oldest.map_or(0, |oldest| (self.clock.now() - oldest).num_seconds().max(0));
        self.rows.set(i64::try_from(rows).unwrap_or(i64::MAX));
        self.oldest.set(age);
        Ok(Progress::rest(began.elapsed(), PERIOD))
    }
}
