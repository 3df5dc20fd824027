//! The books, behind a narrow trait whose methods are whole atomic use cases.

mod postgres;
mod rows;
mod sqlite;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{DatabaseUrl, StoreError, StoreResult, open_postgres, open_sqlite};
use runtime::http::Page;
use uuid::Uuid;

pub use self::postgres::PostgresStore;
pub use self::sqlite::SqliteStore;
use crate::domain::{
    Account, AccountNo, Arrival, Audit, Contradiction, Credit, NewAccount, Opened, Recharge, Request, Verdict,
};

/// Where accounts, credits and requests are kept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
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
    /// database (law 8), and what requests learn. One verdict per arrival, in their order; one that is refused holds no
    /// other back.
    async fn post(&self, arrivals: &[Arrival], now: DateTime<Utc>) -> StoreResult<Vec<Verdict>>;

    /// Records a request before pay-service is asked.
    async fn record_request(&self, request: &Request) -> StoreResult<()>;

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

    /// A sign of life, for readiness.
    async fn check(&self) -> StoreResult<()>;
}

/// Opens the database and migrates it; `max_connections` counts for Postgres.
pub async fn open(url: &DatabaseUrl, max_connections: u32) -> anyhow::Result<Arc<dyn Store>> {
    match url {
        DatabaseUrl::Postgres(url) => {
            let pool = open_postgres(url, "account-service", max_connections)
                .context("DATABASE_URL can't be used")?;
            Ok(Arc::new(PostgresStore::migrated(pool).await?))
        }
        DatabaseUrl::Sqlite(file) => Ok(Arc::new(SqliteStore::migrated(open_sqlite(file).await?).await?)),
    }
}

/// How often a batch is posted anew when another process has credited one of its `tx_no`s meanwhile.
const POSTING_TRIES: u32 = 3;

/// Whether another process has written one of these numbers since they were read.
fn collided(error: &StoreError) -> bool {
    matches!(error, StoreError::Defect(sqlx::Error::Database(error)) if error.is_unique_violation())
}

/// The numbers by which a batch's part of the books is found; accounts sorted, so that processes
/// lock them in one order.
struct Named {
    accounts: Vec<String>,
    orders: Vec<Uuid>,
    tx_nos: Vec<Uuid>,
}

impl Named {
    fn by(arrivals: &[Arrival]) -> Self {
        let recharges = || arrivals.iter().map(|arrival| &arrival.recharge);
        Self {
            accounts: distinct(recharges().map(|recharge| recharge.account_no.as_str().to_owned())),
            orders: distinct(recharges().filter_map(Recharge::order)),
            tx_nos: distinct(recharges().map(|recharge| recharge.tx_no)),
        }
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
