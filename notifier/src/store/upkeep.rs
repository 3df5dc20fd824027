//! What keeps the tables in order.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;

use crate::domain::Day;

/// What was removed because it was older than the retention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Days that were dropped whole.
    pub days: u64,
    /// Days that are older and stay, since something of them still waits or came in late.
    pub kept_days: u64,
    /// Events that were removed row by row.
    pub events: u64,
    /// Notifications that were, with their attempts.
    pub notifications: u64,
    /// Audits whose notifications are gone.
    pub audits: u64,
    /// Identities whose events are gone.
    pub identities: u64,
    /// Finished replays and cancellations.
    pub bulks: u64,
}

impl Removed {
    /// Whether rows were removed, so that there may be more.
    pub fn any_rows(&self) -> bool {
        self.events + self.notifications + self.audits + self.identities + self.bulks > 0
    }
}

/// What is done in the background to keep the tables in order, in small steps.
#[async_trait]
pub trait UpkeepStore: Send + Sync + 'static {
    /// Moves at most `limit` notifications that were cancelled with their subscriptions out of what
    /// is looked through for due work. They are shown as cancelled before and after. How many.
    async fn move_cancelled(&self, limit: u32) -> StoreResult<u64>;

    /// Makes room for what is of `days`, where days have rooms of their own. How many it made.
    async fn prepare(&self, days: &[Day]) -> StoreResult<u64>;

    /// Drops every day that is wholly older than `before`, except those of which something waits or
    /// came in since: these stay whole. Where days have no rooms of their own, and for what is in
    /// none, at most `limit` rows of each kind are removed instead. Before anything of a day is, the
    /// floor rises above it, below which [`super::DeliveryStore::ingest`] takes no unknown event.
    async fn remove(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<Removed>;
}
