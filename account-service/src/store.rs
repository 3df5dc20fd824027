//! The books, behind a narrow trait whose methods are whole atomic use cases.

mod audit;
mod clock_store;
mod exception_store;
mod named;
#[cfg(feature = "postgres")]
mod postgres;
mod reconciliation_store;
mod requeue_store;
mod rows;
mod sqlite;
mod sweep_store;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
#[cfg(feature = "postgres")]
use runtime::database::open_postgres;
use runtime::database::{DatabaseUrl, StoreError, StoreResult, open_sqlite};
use runtime::http::Page;
use uuid::Uuid;

pub use self::clock_store::{Clamped, ClockStore, Furthest, Place};
pub use self::exception_store::ExceptionStore;
use self::named::Named;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
pub use self::reconciliation_store::ReconciliationStore;
pub use self::requeue_store::RequeueStore;
pub use self::sqlite::SqliteStore;
pub use self::sweep_store::SweepStore;
use crate::domain::{
    Account, AccountNo, Arrival, Audit, Contradiction, Credit, NewAccount, Opened, Recharge, Request,
    Standing, Verdict,
};

/// Where accounts, credits and requests are kept.
#[async_trait]
pub trait Store: ClockStore + ExceptionStore + ReconciliationStore + RequeueStore + SweepStore {
    /// Opens an account, unless its number is taken.
    async fn open_account(&self, wish: &NewAccount, now: DateTime<Utc>) -> StoreResult<Opened>;

    /// The account of this number.
    async fn account(&self, account_no: &AccountNo) -> StoreResult<Option<Account>>;

    /// An account's credits, newest first; the page's cursor is a `tx_no`.
    async fn credits(&self, account_no: &AccountNo, page: Page) -> StoreResult<Vec<Credit>>;

    /// The credit of this recharge.
    async fn credit(&self, tx_no: Uuid) -> StoreResult<Option<Credit>>;

    /// Sums up the whole books at one moment; lists at most `limit` accounts that differ.
    async fn audit(&self, limit: u32) -> StoreResult<Audit>;

    /// Posts a batch of results in one transaction: new credits, the balances that these move in the
    /// database (law 8), what requests learn, and an exception for each result that is refused. One
    /// verdict per arrival, in their order; one that is refused holds no other back.
    async fn post(&self, arrivals: &[Arrival], now: DateTime<Utc>) -> StoreResult<Vec<Verdict>>;

    /// Records a request before pay-service is asked; the sweep asks about it from `ask_at` on.
    async fn record_request(&self, request: &Request, ask_at: DateTime<Utc>) -> StoreResult<()>;

    /// Takes back a request that pay-service has refused, unless something was heard of it.
    async fn withdraw_request(&self, merchant_order_no: Uuid) -> StoreResult<()>;

    /// Notes what pay-service answered to the request, without crediting anything.
    async fn note_answer(
        &self,
        merchant_order_no: Uuid,
        answer: &Recharge,
        now: DateTime<Utc>,
    ) -> StoreResult<Result<(), Contradiction>>;

    /// The request of this number.
    async fn request(&self, merchant_order_no: Uuid) -> StoreResult<Option<Request>>;

    /// What is left open.
    async fn standing(&self) -> StoreResult<Standing>;

    /// A sign of life, for readiness.
    async fn check(&self) -> StoreResult<()>;
}

/// Opens the database and migrates it; `max_connections` counts for Postgres.
pub async fn open(url: &DatabaseUrl, max_connections: u32) -> anyhow::Result<Arc<dyn Store>> {
    match url {
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(url) => {
            let connections = open_postgres(url, "account-service", max_connections)
                .context("DATABASE_URL can't be used")?;
            let opened = PostgresStore::migrated(connections.clone()).await;
            Ok(Arc::new(connections.kept_by(opened).await?))
        }
        DatabaseUrl::Sqlite(file) => Ok(Arc::new(SqliteStore::migrated(open_sqlite(file).await?).await?)),
        #[cfg(not(feature = "postgres"))]
        #[allow(
            unreachable_patterns,
            reason = "Postgres' addresses are known where another crate asks for them"
        )]
        _ => anyhow::bail!("DATABASE_URL: this program was built without Postgres"),
    }
}

/// How often what is posted is tried when another process has credited one of its `tx_no`s, or opened
/// one of its exceptions, meanwhile.
#[cfg(feature = "postgres")]
const TRIES: u32 = 5;
/// Recharges that reconciliations found to differ, and that a person has not judged.
const OPEN_DIFFERENCES: &str = "
    SELECT count(DISTINCT found.tx_no) FROM reconciliation_differences AS found
    JOIN exceptions ON exceptions.id = found.exception_id WHERE exceptions.state = 'open'";
/// `PostgreSQL`'s `deadlock_detected`.
const DEADLOCK: &str = "40P01";

/// A request of which one of these was posted is settled: a success is credited in the same transaction.
const POSTED: [&str; 3] = ["succeeded", "failed", "closed"];
/// The same of an answer that was only noted: a success is not credited by it.
const ANSWERED: [&str; 2] = ["failed", "closed"];

/// Whether another process has written what was just read, or waits for what was just locked: it is
/// to be done anew.
fn collided(error: &StoreError) -> bool {
    match error {
        StoreError::Defect(sqlx::Error::Database(error)) => error.is_unique_violation(),
        StoreError::Unavailable(sqlx::Error::Database(error)) => error.code().is_some_and(|c| c == DEADLOCK),
        _ => false,
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
