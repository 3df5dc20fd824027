//! Where recharges are kept: a narrow trait whose methods are whole atomic steps.

#[cfg(feature = "postgres")]
mod postgres;
mod row;
mod sqlite;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::{OutboxStore, RowLease};
#[cfg(feature = "postgres")]
use runtime::database::open_postgres;
use runtime::database::{DatabaseUrl, StoreResult, open_sqlite};
use runtime::http::Page;
use uuid::Uuid;

use crate::domain::{OrderNo, Recharge, Statement, TooMany, Total};

#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;

/// A recharge to be stored, and the event of its result if it has one already.
#[derive(Debug, Clone)]
pub struct NewRecharge {
    /// The recharge.
    pub recharge: Recharge,
    /// What is published about it.
    pub event: Option<Event>,
}

/// What storing a new recharge came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, and so is its event.
    New,
    /// The merchant's order number was used before, by this recharge; nothing was stored.
    Before(Box<Recharge>),
}

/// Recharges and their outbox.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Stores recharges together with their events, all in one transaction (law 1), except those
    /// whose merchant and order number are taken, in the store or earlier in the batch. One answer
    /// per recharge, in their order. The events are due at `now`, and written under `lease` if there is one.
    async fn create(
        &self,
        batch: &[NewRecharge],
        lease: Option<RowLease>,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Stored>>;

    /// Gives a pending recharge its final status together with the event of it, in one transaction
    /// (law 1); it is due at `now`. `false` when it was not pending: nothing changed.
    async fn settle(&self, settled: &Recharge, event: &Event, now: DateTime<Utc>) -> StoreResult<bool>;

    /// The recharge of this number.
    async fn recharge(&self, tx_no: Uuid) -> StoreResult<Option<Recharge>>;

    /// The recharge of this merchant's order number.
    async fn recharge_of_order(&self, merchant: &str, order_no: &OrderNo) -> StoreResult<Option<Recharge>>;

    /// A page of the statement, oldest first, with one row more than its limit when there are more.
    async fn statement(&self, statement: &Statement, page: Page) -> StoreResult<Vec<Recharge>>;

    /// What `statement` comes to, by merchant, currency and status, in this order. A bounded number of
    /// recharges is read.
    async fn totals(&self, statement: &Statement) -> StoreResult<Result<Vec<Total>, TooMany>>;

    /// A sign of life, for readiness.
    async fn check(&self) -> StoreResult<()>;

    /// The outbox that `create` and `settle` write into.
    fn outbox(&self) -> Arc<dyn OutboxStore>;
}

/// Opens the database at `url` and brings its schema up to date; several processes may at once.
/// Holds at most `max_connections` to a Postgres.
pub async fn open(url: &DatabaseUrl, max_connections: u32) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match url {
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(address) => {
            let connections = open_postgres(address, "pay-service", max_connections)
                .context("DATABASE_URL can't be used")?;
            let opened = PostgresStore::migrate(connections.clone()).await;
            Arc::new(connections.kept_by(opened).await?)
        }
        DatabaseUrl::Sqlite(file) => {
            let database =
                open_sqlite(file).await.with_context(|| format!("can't open {}", file.display()))?;
            Arc::new(SqliteStore::migrate(database).await?)
        }
        #[cfg(not(feature = "postgres"))]
        #[allow(
            unreachable_patterns,
            reason = "Postgres' addresses are known where another crate asks for them"
        )]
        _ => anyhow::bail!("DATABASE_URL: this program was built without Postgres"),
    })
}
