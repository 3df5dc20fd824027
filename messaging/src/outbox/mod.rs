//! The outbox: events written in the transaction that causes them (law 1), and the relay that
//! publishes them and forgets them only after the broker's confirm (law 2).
//!
//! The table `outbox` belongs to the service that publishes: its definition is in
//! `migrations/messaging/outbox/<postgres|sqlite>.sql`, to be copied into that service's migrations.

mod finishing;
mod gauge;
mod handover;
#[cfg(feature = "postgres")]
pub mod postgres;
mod relay;
mod sorted;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::database::{StoreError, StoreResult};
use uuid::Uuid;

use crate::event::Event;

pub use gauge::OutboxGauge;
pub use handover::{Handover, Reserved, RowLease};
pub use relay::Relay;

/// The definition of the table for Postgres, for tests; services copy it into a migration.
pub const POSTGRES_TABLE: &str = include_str!("../../../migrations/messaging/outbox/postgres.sql");
/// The definition of the table for `SQLite`, for tests; services copy it into a migration.
pub const SQLITE_TABLE: &str = include_str!("../../../migrations/messaging/outbox/sqlite.sql");

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

/// How far ahead of the clock the times of a row can be.
#[derive(Debug, Clone, Copy)]
pub struct Furthest {
    /// When a row that was refused is due again. Any other is due when it is written.
    pub wait: Duration,
    /// When a lease ends.
    pub lease: Duration,
}

/// How far two processes' clocks may differ without anything being clamped for it: clamping what another
/// process has written would end its leases early.
const SLACK: TimeDelta = TimeDelta::seconds(30);

impl Furthest {
    /// The latest times at `now`: of a wait's end and of a lease's.
    fn at(self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let after = |time| now + TimeDelta::from_std(time).unwrap_or(TimeDelta::days(1));
        (after(self.wait), after(self.lease))
    }
}

/// Where relays find what is to be published.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Takes up to `limit` rows that are due and under no lease that lasts beyond `ended`, oldest
    /// first, under the lease `token` until `now + lease`.
    async fn claim(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        ended: DateTime<Utc>,
        lease: Duration,
        limit: u32,
    ) -> StoreResult<Vec<Claimed>>;

    /// Brings the times of up to `limit` rows that are further ahead of `now` than they can be back to
    /// the furthest that they can be: they were written with a clock that was ahead. How many.
    async fn clamp(&self, now: DateTime<Utc>, furthest: Furthest, limit: u32) -> StoreResult<u64>;

    /// Forgets rows whose message is confirmed, as far as `token` still holds them.
    async fn finish(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()>;

    /// Gives back rows that could not be published, each due again at its time, one failure more.
    async fn postpone(&self, token: Uuid, rows: &[(Uuid, DateTime<Utc>)]) -> StoreResult<()>;

    /// Gives back rows that were not tried, due as before: the broker as a whole was down.
    async fn release(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()>;

    /// How many rows wait, and since when the oldest does.
    async fn backlog(&self) -> StoreResult<(u64, Option<DateTime<Utc>>)>;
}

/// A row as it was claimed. Only [`Event::to_json_text`] writes the text, so a text that is no
/// event is a defect, not an input.
fn stored_event(id: Uuid, failures: i64, text: &str) -> StoreResult<Claimed> {
    let event = serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("event of outbox row {id}: {error}")))?;
    Ok(Claimed { id, failures: u32::try_from(failures).unwrap_or(u32::MAX), event })
}
