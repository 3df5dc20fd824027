//! Events put on the broker directly, as any publisher would.

use std::sync::Arc;

use anyhow::Context;
use messaging::Event;
use messaging::broker::{Broker, BrokerUrl, Queue, RabbitMq, RabbitMqOptions, SqliteBroker};
use runtime::Sources;

use crate::run::Bench;

/// Publishes at most so many at once, each confirmed.
const BATCH: usize = 1_000;

/// A publisher of its own.
pub struct Publisher(Arc<dyn Broker>);

impl Publisher {
    /// Connects to the broker at `url`.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let url: BrokerUrl = url.parse().context("the broker's address")?;
        let sources = Sources::system();
        // What it publishes is for one service at a time, so no queue is required.
        Ok(Self(match &url {
            BrokerUrl::RabbitMq(urls) => {
                let options = RabbitMqOptions { required: None, ..RabbitMqOptions::default() };
                Arc::new(RabbitMq::with_options(urls, "bench", &sources, options))
            }
            BrokerUrl::Sqlite(file) => Arc::new(SqliteBroker::open(file, &sources).await?),
        }))
    }

    /// Makes the queue, so that what is published waits there.
    pub async fn declare(&self, queue: Queue) -> anyhow::Result<()> {
        Ok(self.0.declare(queue).await?)
    }

    /// Publishes all of `events`; returns when each is confirmed.
    pub async fn publish(&self, events: &[Event]) -> anyhow::Result<()> {
        for batch in events.chunks(BATCH) {
            self.0.publish(batch).await.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    /// The same, saying how far it is.
    pub async fn fill(&self, bench: &Bench<'_>, events: &[Event]) -> anyhow::Result<()> {
        bench.progress.step(&format!("publishing {} events", events.len()));
        for (number, batch) in events.chunks(BATCH).enumerate() {
            self.publish(batch).await?;
            bench.progress.at(number * BATCH, events.len());
        }
        Ok(())
    }
}
