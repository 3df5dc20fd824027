//! An outbox that forgets rows only when a test lets it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::outbox::{Claimed, Furthest, OutboxStore};
use runtime::database::StoreResult;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Another outbox whose `finish` says that it was asked, and waits for a permit.
pub struct SlowToForget {
    store: Arc<dyn OutboxStore>,
    pub asked: Semaphore,
    pub go_on: Semaphore,
}

impl SlowToForget {
    pub fn of(store: &Arc<dyn OutboxStore>) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), asked: Semaphore::new(0), go_on: Semaphore::new(0) })
    }
}

#[async_trait]
impl OutboxStore for SlowToForget {
    async fn claim(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        ended: DateTime<Utc>,
        lease: Duration,
        limit: u32,
    ) -> StoreResult<Vec<Claimed>> {
        self.store.claim(token, now, ended, lease, limit).await
    }

    async fn clamp(&self, now: DateTime<Utc>, furthest: Furthest, limit: u32) -> StoreResult<u64> {
        self.store.clamp(now, furthest, limit).await
    }

    async fn finish(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()> {
        self.asked.add_permits(1);
        self.go_on.acquire().await.expect("open").forget();
        self.store.finish(token, ids).await
    }

    async fn postpone(&self, token: Uuid, rows: &[(Uuid, DateTime<Utc>)]) -> StoreResult<()> {
        self.store.postpone(token, rows).await
    }

    async fn release(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()> {
        self.store.release(token, ids).await
    }

    async fn backlog(&self) -> StoreResult<(u64, Option<DateTime<Utc>>)> {
        self.store.backlog().await
    }
}
