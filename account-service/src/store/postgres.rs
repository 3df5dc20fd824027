//! The books in Postgres.

mod audit;
mod clock;
mod exceptions;
mod posting;
mod reconciliations;
mod requeues;
mod sweep;
mod unknown_accounts;

use anyhow::Context;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, Postgres, StoreResult, takes_writes};
use runtime::http::Page;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{OPEN_DIFFERENCES, Store, TRIES, collided, rows};
use crate::domain::{
    Account, AccountNo, Arrival, Audit, Contradiction, Credit, NewAccount, Opened, Recharge, Request,
    Standing, Verdict,
};

type AccountRow = rows::AccountRow<DateTime<Utc>>;
type CreditRow = rows::CreditRow<DateTime<Utc>>;
type RequestRow = rows::RequestRow<DateTime<Utc>>;

/// The books in Postgres, shared by any number of processes.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    /// For what is done for every result and every request.
    steady: PgPool,
}

impl PostgresStore {
    /// The books in the database behind these connections, its schema brought up to date.
    pub async fn migrated(connections: impl Into<Postgres>) -> anyhow::Result<Self> {
        let Postgres { planned: pool, steady } = connections.into();
        let migrations = sqlx::migrate!("../migrations/account-service/postgres");
        pool.migrate(&migrations).await.context("the database can't be migrated")?;
        Ok(Self { pool, steady })
    }
}

/// Does it anew when another process came between.
async fn again_if_collided<T, F>(work: impl Fn() -> F) -> StoreResult<T>
where
    F: Future<Output = StoreResult<T>>,
{
    for _ in 1..TRIES {
        match work().await {
            Err(error) if collided(&error) => {}
            answer => return answer,
        }
    }
    work().await
}

async fn create_account(
    connection: &mut PgConnection,
    wish: &NewAccount,
    now: DateTime<Utc>,
) -> StoreResult<Option<AccountRow>> {
    unknown_accounts::keep_out(connection, &wish.account_no).await?;
    let created = sqlx::query_as(
        "INSERT INTO accounts (account_no, account_name, currency, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (account_no) DO NOTHING RETURNING *",
    )
    .bind(wish.account_no.as_str())
    .bind(&wish.account_name)
    .bind(wish.currency.as_str())
    .bind(now)
    .fetch_optional(connection)
    .await?;
    Ok(created)
}

#[async_trait]
impl Store for PostgresStore {
    /// Waits for results that are being refused for want of this account, so that whoever sees the
    /// account sees their exceptions too.
    async fn open_account(&self, wish: &NewAccount, now: DateTime<Utc>) -> StoreResult<Opened> {
        let mut transaction = self.pool.begin().await?;
        let created = create_account(&mut transaction, wish, now).await;
        match transaction.conclude(created).await? {
            Some(row) => Ok(Opened::Created(row.read()?)),
            None => {
                Ok(self.account(&wish.account_no).await?.map_or(Opened::Conflict, |a| Opened::again(wish, a)))
            }
        }
    }

    async fn account(&self, account_no: &AccountNo) -> StoreResult<Option<Account>> {
        let row: Option<AccountRow> = sqlx::query_as("SELECT * FROM accounts WHERE account_no = $1")
            .bind(account_no.as_str())
            .fetch_optional(&self.steady)
            .await?;
        row.map(AccountRow::read).transpose()
    }

    async fn credits(&self, account_no: &AccountNo, page: Page) -> StoreResult<Vec<Credit>> {
        let rows: Vec<CreditRow> = sqlx::query_as(
            "SELECT * FROM credits
             WHERE account_no = $1 AND ($2::uuid IS NULL OR (credited_at, tx_no) <
                   (SELECT last.credited_at, last.tx_no FROM credits AS last WHERE last.tx_no = $2))
             ORDER BY credited_at DESC, tx_no DESC LIMIT $3",
        )
        .bind(account_no.as_str())
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(CreditRow::read).collect()
    }

    async fn credit(&self, tx_no: Uuid) -> StoreResult<Option<Credit>> {
        let row: Option<CreditRow> = sqlx::query_as("SELECT * FROM credits WHERE tx_no = $1")
            .bind(tx_no)
            .fetch_optional(&self.steady)
            .await?;
        row.map(CreditRow::read).transpose()
    }

    async fn audit(&self, limit: u32) -> StoreResult<Audit> {
        audit::audit(&self.pool, limit).await
    }

    async fn post(&self, arrivals: &[Arrival], now: DateTime<Utc>) -> StoreResult<Vec<Verdict>> {
        match posting::post_new(&self.steady, arrivals, now).await {
            Ok(Some(verdicts)) => return Ok(verdicts),
            Ok(None) => {}
            Err(error) if collided(&error) => {}
            Err(error) => return Err(error),
        }
        again_if_collided(|| posting::post(&self.steady, arrivals, now)).await
    }

    async fn record_request(&self, request: &Request, ask_at: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO requests (merchant_order_no, account_no, amount, currency, channel, attach, tx_no,
                                   status, created_at, updated_at, ask_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)",
        )
        .bind(request.merchant_order_no)
        .bind(request.account_no.as_str())
        .bind(request.amount.minor_units())
        .bind(request.currency.as_str())
        .bind(&request.channel)
        .bind(&request.attach)
        .bind(request.state.tx_no())
        .bind(request.state.as_str())
        .bind(request.created_at)
        .bind(ask_at)
        .execute(&self.steady)
        .await?;
        Ok(())
    }

    async fn withdraw_request(&self, merchant_order_no: Uuid) -> StoreResult<()> {
        sqlx::query("DELETE FROM requests WHERE merchant_order_no = $1 AND status = 'unknown'")
            .bind(merchant_order_no)
            .execute(&self.steady)
            .await?;
        Ok(())
    }

    async fn note_answer(
        &self,
        merchant_order_no: Uuid,
        answer: &Recharge,
        now: DateTime<Utc>,
    ) -> StoreResult<Result<(), Contradiction>> {
        match posting::note_answer(&self.steady, merchant_order_no, answer, now).await {
            Err(error) if collided(&error) => Ok(Err(Contradiction("tx_no"))),
            noted => noted,
        }
    }

    async fn request(&self, merchant_order_no: Uuid) -> StoreResult<Option<Request>> {
        let row: Option<RequestRow> = sqlx::query_as("SELECT * FROM requests WHERE merchant_order_no = $1")
            .bind(merchant_order_no)
            .fetch_optional(&self.steady)
            .await?;
        row.map(RequestRow::read).transpose()
    }

    async fn standing(&self) -> StoreResult<Standing> {
        let kinds: Vec<(String, i64)> =
            sqlx::query_as("SELECT kind, count(*) FROM exceptions WHERE state = 'open' GROUP BY kind")
                .fetch_all(&self.pool)
                .await?;
        let waiting: (i64, Option<DateTime<Utc>>) =
            sqlx::query_as("SELECT count(*), min(created_at) FROM requests WHERE ask_at IS NOT NULL")
                .fetch_one(&self.pool)
                .await?;
        let running: (i64, Option<DateTime<Utc>>) =
            sqlx::query_as("SELECT count(*), min(asked_at) FROM reconciliations WHERE due_at IS NOT NULL")
                .fetch_one(&self.pool)
                .await?;
        let differences = sqlx::query_scalar(OPEN_DIFFERENCES).fetch_one(&self.pool).await?;
        rows::standing(kinds, waiting, running, differences)
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1 FROM accounts LIMIT 1").execute(&self.pool.for_checks()).await?;
        takes_writes(&self.steady.for_checks()).await
    }
}
