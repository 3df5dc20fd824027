//! A durable broker in one `SQLite` file.

use std::path::Path;

use async_trait::async_trait;
use runtime::Sources;
use runtime::database::{Sqlite, open_sqlite};

use super::{Broker, BrokerError, Consumer, Queue};
use crate::event::Event;

/// A broker in a file that several processes may share.
pub struct SqliteBroker {
    _db: Sqlite,
}

impl SqliteBroker {
    /// Opens `file`, making and migrating it when needed.
    pub async fn open(file: &Path, _sources: &Sources) -> Result<Self, BrokerError> {
        Ok(Self { _db: open_sqlite(file).await.map_err(BrokerError::unavailable)? })
    }
}

#[async_trait]
impl Broker for SqliteBroker {
    async fn declare(&self, _queue: Queue) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }

    async fn publish(&self, events: &[Event]) -> Vec<Result<(), BrokerError>> {
        events.iter().map(|_| Err(BrokerError::unavailable("not built yet"))).collect()
    }

    async fn consume(&self, _queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }

    async fn consume_dead(&self, _queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }

    async fn check(&self) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("not built yet"))
    }
}
