//! Recharges in `SQLite`. A batch is a loop inside one transaction: in-process, a statement is cheap.

use std::sync::Arc;

use async_trait::async_trait;
use messaging::Event;
use messaging::outbox::sqlite::{self as outbox, SqliteOutbox};
use messaging::outbox::{OutboxStore, RowLease};
use runtime::database::{Sqlite, StoreResult};
use runtime::http::Page;
use sqlx::{QueryBuilder, SqliteConnection};
use uuid::Uuid;

use super::row::{columns, narrow};
use super::{NewRecharge, Store, Stored, row};
use crate::domain::{OrderNo, Recharge, Statement, StatusName};

/// Times are microseconds since the epoch.
type Row = row::Row<i64>;

/// The store in a database file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    db: Sqlite,
}

impl SqliteStore {
    /// The store in `db`, its schema brought up to date.
    pub async fn migrate(db: Sqlite) -> anyhow::Result<Self> {
        sqlx::migrate!("../migrations/pay-service/sqlite").run(&db.writer).await?;
        Ok(Self { db })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, batch: &[NewRecharge], lease: Option<RowLease>) -> StoreResult<Vec<Stored>> {
        let mut transaction = self.db.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut answers = Vec::with_capacity(batch.len());
        let mut events = Vec::new();
        for NewRecharge { recharge, event } in batch {
            let stored = insert(&mut transaction, recharge).await?;
            if stored == Stored::New {
                events.extend(event.clone());
            }
            answers.push(stored);
        }
        if let Some(last) = batch.last() {
            outbox::insert(&mut transaction, &events, lease, last.recharge.created_at).await?;
        }
        transaction.commit().await?;
        Ok(answers)
    }

    async fn settle(&self, settled: &Recharge, event: &Event) -> StoreResult<bool> {
        let mut transaction = self.db.writer.begin_with("BEGIN IMMEDIATE").await?;
        let updated = sqlx::query(
            "UPDATE recharges SET status = ?2, settled_at = ?3, failure = ?4
             WHERE tx_no = ?1 AND status = 'pending'",
        )
        .bind(settled.tx_no)
        .bind(settled.status.name().as_str())
        .bind(settled.status.settled_at().map(|time| time.timestamp_micros()))
        .bind(settled.status.failure())
        .execute(&mut *transaction)
        .await?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }
        outbox::insert(&mut transaction, std::slice::from_ref(event), None, event.time).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn recharge(&self, tx_no: Uuid) -> StoreResult<Option<Recharge>> {
        let row: Option<Row> =
            sqlx::query_as(concat!("SELECT ", columns!(), " FROM recharges WHERE tx_no = ?1"))
                .bind(tx_no)
                .fetch_optional(&self.db.reader)
                .await?;
        row.map(Row::recharge).transpose()
    }

    async fn recharge_of_order(&self, merchant: &str, order_no: &OrderNo) -> StoreResult<Option<Recharge>> {
        let mut connection = self.db.reader.acquire().await?;
        of_order(&mut connection, merchant, order_no).await
    }

    async fn statement(&self, statement: &Statement, page: Page) -> StoreResult<Vec<Recharge>> {
        let mut query = QueryBuilder::new(concat!("SELECT ", columns!(), " FROM recharges WHERE TRUE"));
        narrow(&mut query, " AND merchant = ", statement.merchant.clone());
        narrow(&mut query, " AND account_no = ", statement.account_no.clone());
        narrow(&mut query, " AND status = ", statement.status.map(StatusName::as_str));
        narrow(&mut query, " AND tx_no > ", page.after);
        narrow(&mut query, " AND tx_no >= ", statement.first_number());
        narrow(&mut query, " AND tx_no < ", statement.end_number());
        narrow(&mut query, " AND created_at >= ", statement.created_from.map(|from| from.timestamp_micros()));
        narrow(&mut query, " AND created_at < ", statement.created_to.map(|to| to.timestamp_micros()));
        query.push(" ORDER BY tx_no LIMIT ").push_bind(page.fetch());
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.db.reader).await?;
        rows.into_iter().map(Row::recharge).collect()
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1 FROM recharges LIMIT 1").execute(&self.db.reader).await?;
        Ok(())
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(SqliteOutbox { db: self.db.clone() })
    }
}

async fn insert(connection: &mut SqliteConnection, recharge: &Recharge) -> StoreResult<Stored> {
    let Recharge { tx_no, order, created_at, status } = recharge;
    let inserted = sqlx::query(concat!(
        "INSERT INTO recharges (",
        columns!(),
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (merchant, merchant_order_no) DO NOTHING"
    ))
    .bind(tx_no)
    .bind(&order.merchant)
    .bind(order.merchant_order_no.as_str())
    .bind(&order.account_no)
    .bind(order.amount.minor_units())
    .bind(order.currency.code())
    .bind(order.channel.as_str())
    .bind(&order.attach)
    .bind(created_at.timestamp_micros())
    .bind(status.name().as_str())
    .bind(status.settled_at().map(|time| time.timestamp_micros()))
    .bind(status.failure())
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        let before = of_order(connection, &order.merchant, &order.merchant_order_no).await?;
        let before = before.ok_or(sqlx::Error::RowNotFound)?;
        return Ok(Stored::Before(Box::new(before)));
    }
    Ok(Stored::New)
}

async fn of_order(
    connection: &mut SqliteConnection,
    merchant: &str,
    order_no: &OrderNo,
) -> StoreResult<Option<Recharge>> {
    let row: Option<Row> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM recharges WHERE merchant = ?1 AND merchant_order_no = ?2"
    ))
    .bind(merchant)
    .bind(order_no.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(Row::recharge).transpose()
}
