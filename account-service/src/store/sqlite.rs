//! The books in one `SQLite` file.

mod audit;
mod clock;
mod exceptions;
mod posting;
mod reconciliations;
mod requeues;
mod sweep;

use anyhow::Context;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{Sqlite, StoreResult};
use runtime::http::Page;
use uuid::Uuid;

use super::{OPEN_DIFFERENCES, Store, collided, rows};
use crate::domain::{
    Account, AccountNo, Arrival, Audit, Contradiction, Credit, NewAccount, Opened, Recharge, Request,
    Standing, Verdict,
};

type AccountRow = rows::AccountRow<i64>;
type CreditRow = rows::CreditRow<i64>;
type RequestRow = rows::RequestRow<i64>;

/// The books in one file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    database: Sqlite,
}

impl SqliteStore {
    /// The books in `database`, its schema brought up to date.
    pub async fn migrated(database: Sqlite) -> anyhow::Result<Self> {
        let migrations = sqlx::migrate!("../migrations/account-service/sqlite");
        database.writer.migrate(&migrations).await.context("the database can't be migrated")?;
        Ok(Self { database })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn open_account(&self, wish: &NewAccount, now: DateTime<Utc>) -> StoreResult<Opened> {
        let created: Option<AccountRow> = sqlx::query_as(
            "INSERT INTO accounts (account_no, account_name, currency, created_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account_no) DO NOTHING RETURNING *",
        )
        .bind(wish.account_no.as_str())
        .bind(&wish.account_name)
        .bind(wish.currency.as_str())
        .bind(now.timestamp_micros())
        .fetch_optional(&self.database.writer)
        .await?;
        match created {
            Some(row) => Ok(Opened::Created(row.read()?)),
            None => {
                Ok(self.account(&wish.account_no).await?.map_or(Opened::Conflict, |a| Opened::again(wish, a)))
            }
        }
    }

    async fn account(&self, account_no: &AccountNo) -> StoreResult<Option<Account>> {
        let row: Option<AccountRow> = sqlx::query_as("SELECT * FROM accounts WHERE account_no = ?1")
            .bind(account_no.as_str())
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(AccountRow::read).transpose()
    }

    async fn credits(&self, account_no: &AccountNo, page: Page) -> StoreResult<Vec<Credit>> {
        let rows: Vec<CreditRow> = sqlx::query_as(
            "SELECT * FROM credits
             WHERE account_no = ?1 AND (?2 IS NULL OR (credited_at, tx_no) <
                   (SELECT last.credited_at, last.tx_no FROM credits AS last WHERE last.tx_no = ?2))
             ORDER BY credited_at DESC, tx_no DESC LIMIT ?3",
        )
        .bind(account_no.as_str())
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.database.reader)
        .await?;
        rows.into_iter().map(CreditRow::read).collect()
    }

    async fn credit(&self, tx_no: Uuid) -> StoreResult<Option<Credit>> {
        let row: Option<CreditRow> = sqlx::query_as("SELECT * FROM credits WHERE tx_no = ?1")
            .bind(tx_no)
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(CreditRow::read).transpose()
    }

    async fn audit(&self, limit: u32) -> StoreResult<Audit> {
        audit::audit(&self.database, limit).await
    }

    async fn post(&self, arrivals: &[Arrival], now: DateTime<Utc>) -> StoreResult<Vec<Verdict>> {
        posting::post(&self.database, arrivals, now).await
    }

    async fn record_request(&self, request: &Request, ask_at: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO requests (merchant_order_no, account_no, amount, currency, channel, attach, tx_no,
                                   status, created_at, updated_at, ask_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)",
        )
        .bind(request.merchant_order_no)
        .bind(request.account_no.as_str())
        .bind(request.amount.minor_units())
        .bind(request.currency.as_str())
        .bind(&request.channel)
        .bind(&request.attach)
        .bind(request.state.tx_no())
        .bind(request.state.as_str())
        .bind(request.created_at.timestamp_micros())
        .bind(ask_at.timestamp_micros())
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    async fn withdraw_request(&self, merchant_order_no: Uuid) -> StoreResult<()> {
        sqlx::query("DELETE FROM requests WHERE merchant_order_no = ?1 AND status = 'unknown'")
            .bind(merchant_order_no)
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }

    async fn note_answer(
        &self,
        merchant_order_no: Uuid,
        answer: &Recharge,
        now: DateTime<Utc>,
    ) -> StoreResult<Result<(), Contradiction>> {
        match posting::note_answer(&self.database, merchant_order_no, answer, now).await {
            Err(error) if collided(&error) => Ok(Err(Contradiction("tx_no"))),
            noted => noted,
        }
    }

    async fn request(&self, merchant_order_no: Uuid) -> StoreResult<Option<Request>> {
        let row: Option<RequestRow> = sqlx::query_as("SELECT * FROM requests WHERE merchant_order_no = ?1")
            .bind(merchant_order_no)
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(RequestRow::read).transpose()
    }

    async fn standing(&self) -> StoreResult<Standing> {
        let kinds: Vec<(String, i64)> =
            sqlx::query_as("SELECT kind, count(*) FROM exceptions WHERE state = 'open' GROUP BY kind")
                .fetch_all(&self.database.reader)
                .await?;
        let waiting: (i64, Option<i64>) =
            sqlx::query_as("SELECT count(*), min(created_at) FROM requests WHERE ask_at IS NOT NULL")
                .fetch_one(&self.database.reader)
                .await?;
        let running: (i64, Option<i64>) =
            sqlx::query_as("SELECT count(*), min(asked_at) FROM reconciliations WHERE due_at IS NOT NULL")
                .fetch_one(&self.database.reader)
                .await?;
        let differences = sqlx::query_scalar(OPEN_DIFFERENCES).fetch_one(&self.database.reader).await?;
        rows::standing(kinds, waiting, running, differences)
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1 FROM accounts LIMIT 1").execute(&self.database.reader.for_checks()).await?;
        self.database.takes_writes().await
    }
}
