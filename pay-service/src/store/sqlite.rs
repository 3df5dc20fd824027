//! Recharges in `SQLite`. A batch goes in as one JSON array, since `SQLite` has no array type: each
//! statement costs two changes of threads.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::sqlite::{self as outbox, SqliteOutbox};
use messaging::outbox::{OutboxStore, RowLease};
use runtime::database::{Sqlite, StoreResult, hex, list};
use runtime::http::Page;
use serde_json::json;
use sqlx::{QueryBuilder, SqliteConnection};
use uuid::Uuid;

use super::row::{TOTALS, TotalRow, columns, narrow, push_totals_end};
use super::{NewRecharge, Store, Stored, row};
use crate::domain::{OrderNo, Recharge, Statement, StatusName, TooMany, Total};

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
        db.writer.migrate(&sqlx::migrate!("../migrations/pay-service/sqlite")).await?;
        Ok(Self { db })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(
        &self,
        batch: &[NewRecharge],
        lease: Option<RowLease>,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Stored>> {
        let mut transaction = self.db.writer.begin_with("BEGIN IMMEDIATE").await?;
        let inserted = insert(&mut transaction, batch).await?;
        let mut answers = Vec::with_capacity(batch.len());
        let mut events = Vec::new();
        for NewRecharge { recharge: Recharge { tx_no, order, .. }, event } in batch {
            if inserted.contains(tx_no) {
                events.extend(event.clone());
                answers.push(Stored::New);
            } else {
                let before = of_order(&mut transaction, &order.merchant, &order.merchant_order_no).await?;
                answers.push(Stored::Before(Box::new(before.ok_or(sqlx::Error::RowNotFound)?)));
            }
        }
        outbox::insert(&mut transaction, &events, lease, now).await?;
        transaction.commit().await?;
        Ok(answers)
    }

    async fn settle(&self, settled: &Recharge, event: &Event, now: DateTime<Utc>) -> StoreResult<bool> {
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
            transaction.rollback().await?;
            return Ok(false);
        }
        outbox::insert(&mut transaction, std::slice::from_ref(event), None, now).await?;
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
        let found = of_order(&mut connection, merchant, order_no).await?;
        connection.release();
        Ok(found)
    }

    async fn statement(&self, statement: &Statement, page: Page) -> StoreResult<Vec<Recharge>> {
        let mut query = QueryBuilder::new(concat!("SELECT ", columns!(), " FROM recharges WHERE TRUE"));
        push_conditions(&mut query, statement);
        narrow(&mut query, " AND tx_no > ", page.after);
        query.push(" ORDER BY tx_no LIMIT ").push_bind(page.fetch());
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.db.reader).await?;
        rows.into_iter().map(Row::recharge).collect()
    }

    async fn totals(&self, statement: &Statement) -> StoreResult<Result<Vec<Total>, TooMany>> {
        let rows: Vec<TotalRow> = totals_query(statement).build_query_as().fetch_all(&self.db.reader).await?;
        row::totals(rows)
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1 FROM recharges LIMIT 1").execute(&self.db.reader.for_checks()).await?;
        self.db.takes_writes().await
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(SqliteOutbox { db: self.db.clone() })
    }
}

/// What `statement` asks for; its period is a range of the primary key, and of every index that leads there.
fn push_conditions(query: &mut QueryBuilder<sqlx::Sqlite>, statement: &Statement) {
    narrow(query, " AND merchant = ", statement.merchant.clone());
    narrow(query, " AND account_no = ", statement.account_no.clone());
    narrow(query, " AND status = ", statement.status.map(StatusName::as_str));
    narrow(query, " AND tx_no >= ", statement.first_number());
    narrow(query, " AND tx_no < ", statement.end_number());
    narrow(query, " AND created_at >= ", statement.created_from.map(|from| from.timestamp_micros()));
    narrow(query, " AND created_at < ", statement.created_to.map(|to| to.timestamp_micros()));
}

fn totals_query(statement: &Statement) -> QueryBuilder<sqlx::Sqlite> {
    let mut query = QueryBuilder::new(TOTALS);
    push_conditions(&mut query, statement);
    push_totals_end(&mut query);
    query
}

/// The numbers of those that were inserted; of one order, the first of the batch wins.
async fn insert(connection: &mut SqliteConnection, batch: &[NewRecharge]) -> StoreResult<HashSet<Uuid>> {
    let row = |new: &NewRecharge| {
        let Recharge { tx_no, order, created_at, status } = &new.recharge;
        json!([
            hex(*tx_no),
            order.merchant,
            order.merchant_order_no.as_str(),
            order.account_no,
            order.amount.minor_units(),
            order.currency.code(),
            order.channel.as_str(),
            order.attach,
            created_at.timestamp_micros(),
            status.name().as_str(),
            status.settled_at().map(|time| time.timestamp_micros()),
            status.failure(),
        ])
    };
    let inserted: Vec<Uuid> = sqlx::query_scalar(concat!(
        "INSERT INTO recharges (",
        columns!(),
        ") SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
             value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11
         FROM json_each(?1) WHERE TRUE ORDER BY key
         ON CONFLICT (merchant, merchant_order_no) DO NOTHING RETURNING tx_no"
    ))
    .bind(list(batch.iter().map(row)))
    .fetch_all(connection)
    .await?;
    Ok(inserted.into_iter().collect())
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

#[cfg(test)]
mod tests {
    use runtime::testing::temporary_sqlite;
    use sqlx::AssertSqlSafe;

    use super::*;

    #[tokio::test]
    async fn totals_of_a_merchant_an_account_or_a_period_are_read_by_an_index() {
        let (db, _folder) = temporary_sqlite().await;
        let store = SqliteStore::migrate(db).await.expect("migrated");
        let day = |text: &str| Some(text.parse().expect("a time"));
        let period = Statement {
            created_from: day("2026-01-01T00:00:00Z"),
            created_to: day("2026-01-02T00:00:00Z"),
            ..Statement::default()
        };
        let merchant = Some("shop".to_owned());
        for (statement, index) in [
            (period.clone(), "PRIMARY KEY (tx_no>? AND tx_no<?)"),
            (
                Statement { merchant, ..period.clone() },
                "recharges_of_merchant (merchant=? AND tx_no>? AND tx_no<?)",
            ),
            (
                Statement { account_no: Some("6222".into()), ..period },
                "recharges_of_account (account_no=? AND tx_no>? AND tx_no<?)",
            ),
        ] {
            let explain = format!("EXPLAIN QUERY PLAN {}", totals_query(&statement).sql().as_str());
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(AssertSqlSafe(explain)).fetch_all(&store.db.reader).await.expect("a plan");
            assert!(plan.iter().any(|(.., step)| step.contains(index)), "{index}: {plan:?}");
        }
    }
}
