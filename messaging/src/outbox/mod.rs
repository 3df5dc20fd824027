//! The outbox: events written in the transaction that causes them (law 1), and the relay that
//! publishes them and forgets them only after the broker's confirm (law 2).

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use crate::event::Event;

/// An outbox row under the lease of one relay.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The row: the event's id.
    pub id: Uuid,
    /// How often publishing it has failed.
    pub failures: u32,
    /// What is to be published.
    pub event: Event,
}

/// Where relays find what is to be published.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Takes up to `limit` rows that are due and under no live lease, oldest first, under the lease
    /// `token` until `now + lease`.
    async fn claim(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        lease: Duration,
        limit: u32,
    ) -> StoreResult<Vec<Claimed>>;

    /// Forgets rows whose message is confirmed, as far as `token` still holds them.
    async fn finish(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()>;

    /// Gives back rows that could not be published, each due again at its time, one failure more.
    async fn postpone(&self, token: Uuid, rows: &[(Uuid, DateTime<Utc>)]) -> StoreResult<()>;

    /// How many rows wait, and since when the oldest does.
    async fn backlog(&self) -> StoreResult<(u64, Option<DateTime<Utc>>)>;
}
