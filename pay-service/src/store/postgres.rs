//! Recharges in Postgres: one statement per table per batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::postgres::{self as outbox, PostgresOutbox};
use messaging::outbox::{OutboxStore, RowLease};
use runtime::database::{PgPool, Postgres, StoreResult, takes_writes};
use runtime::http::Page;
use sqlx::{PgConnection, QueryBuilder};
use uuid::Uuid;

use super::row::{TOTALS, TotalRow, columns, narrow, push_totals_end};
use super::{NewRecharge, Store, Stored, row};
use crate::domain::{OrderNo, Recharge, Statement, StatusName, TooMany, Total};

type Row = row::Row<DateTime<Utc>>;

/// The store behind a pool.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    /// For what is done for every recharge.
    steady: PgPool,
}

impl PostgresStore {
    /// The store behind these connections, its schema brought up to date.
    pub async fn migrate(connections: impl Into<Postgres>) -> anyhow::Result<Self> {
        let Postgres { planned: pool, steady } = connections.into();
        pool.migrate(&sqlx::migrate!("../migrations/pay-service/postgres")).await?;
        Ok(Self { pool, steady })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn create(
        &self,
        batch: &[NewRecharge],
        lease: Option<RowLease>,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Stored>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.steady.begin().await?;
        let inserted = insert(&mut transaction, batch).await?;
        let is_new = |new: &&NewRecharge| inserted.contains(&new.recharge.tx_no);
        let events: Vec<Event> = batch.iter().filter(is_new).filter_map(|new| new.event.clone()).collect();
        outbox::insert(&mut transaction, &events, lease, now).await?;
        transaction.commit().await?;
        let taken: Vec<&Recharge> =
            batch.iter().filter(|new| !is_new(new)).map(|new| &new.recharge).collect();
        let before = if taken.is_empty() { HashMap::new() } else { of_orders(&self.pool, &taken).await? };
        batch.iter().map(|new| answer(&new.recharge, &inserted, &before)).collect()
    }

    async fn settle(&self, settled: &Recharge, event: &Event, now: DateTime<Utc>) -> StoreResult<bool> {
        let mut transaction = self.steady.begin().await?;
        let updated = sqlx::query(
            "UPDATE recharges SET status = $2, settled_at = $3, failure = $4
             WHERE tx_no = $1 AND status = 'pending'",
        )
        .bind(settled.tx_no)
        .bind(settled.status.name().as_str())
        .bind(settled.status.settled_at())
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
            sqlx::query_as(concat!("SELECT ", columns!(), " FROM recharges WHERE tx_no = $1"))
                .bind(tx_no)
                .fetch_optional(&self.steady)
                .await?;
        row.map(Row::recharge).transpose()
    }

    async fn recharge_of_order(&self, merchant: &str, order_no: &OrderNo) -> StoreResult<Option<Recharge>> {
        let row: Option<Row> = sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM recharges WHERE merchant = $1 AND merchant_order_no = $2"
        ))
        .bind(merchant)
        .bind(order_no.as_str())
        .fetch_optional(&self.steady)
        .await?;
        row.map(Row::recharge).transpose()
    }

    async fn statement(&self, statement: &Statement, page: Page) -> StoreResult<Vec<Recharge>> {
        let mut query = QueryBuilder::new(concat!("SELECT ", columns!(), " FROM recharges WHERE TRUE"));
        push_conditions(&mut query, statement);
        narrow(&mut query, " AND tx_no > ", page.after);
        query.push(" ORDER BY tx_no LIMIT ").push_bind(page.fetch());
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.pool).await?;
        rows.into_iter().map(Row::recharge).collect()
    }

    async fn totals(&self, statement: &Statement) -> StoreResult<Result<Vec<Total>, TooMany>> {
        let mut query = QueryBuilder::new(TOTALS);
        push_conditions(&mut query, statement);
        push_totals_end(&mut query);
        let rows: Vec<TotalRow> = query.build_query_as().fetch_all(&self.pool).await?;
        row::totals(rows)
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1 FROM recharges LIMIT 1").execute(&self.pool.for_checks()).await?;
        takes_writes(&self.steady.for_checks()).await
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(PostgresOutbox { pool: self.steady.clone() })
    }
}

/// What `statement` asks for; its period is a range of the primary key, and of every index that leads there.
fn push_conditions(query: &mut QueryBuilder<sqlx::Postgres>, statement: &Statement) {
    narrow(query, " AND merchant = ", statement.merchant.clone());
    narrow(query, " AND account_no = ", statement.account_no.clone());
    narrow(query, " AND status = ", statement.status.map(StatusName::as_str));
    narrow(query, " AND tx_no >= ", statement.first_number());
    narrow(query, " AND tx_no < ", statement.end_number());
    narrow(query, " AND created_at >= ", statement.created_from);
    narrow(query, " AND created_at < ", statement.created_to);
}

fn answer(
    recharge: &Recharge,
    inserted: &HashSet<Uuid>,
    before: &HashMap<(String, String), Recharge>,
) -> StoreResult<Stored> {
    if inserted.contains(&recharge.tx_no) {
        return Ok(Stored::New);
    }
    let key = (recharge.order.merchant.clone(), recharge.order.merchant_order_no.as_str().to_owned());
    let before = before.get(&key).cloned().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Stored::Before(Box::new(before)))
}

/// The numbers of those that were inserted. Sorted by order, so that two processes whose batches
/// share orders wait for each other instead of deadlocking; of one order, the first of the batch wins.
async fn insert(connection: &mut PgConnection, batch: &[NewRecharge]) -> StoreResult<HashSet<Uuid>> {
    let column = |read: fn(&Recharge) -> Option<&str>| -> Vec<Option<&str>> {
        batch.iter().map(|new| read(&new.recharge)).collect()
    };
    let recharges = || batch.iter().map(|new| &new.recharge);
    let inserted: Vec<Uuid> = sqlx::query_scalar(concat!(
        "INSERT INTO recharges (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
             $8::text[], $9::timestamptz[], $10::text[], $11::timestamptz[], $12::text[])
             WITH ORDINALITY AS new (",
        columns!(),
        ", position) ORDER BY merchant, merchant_order_no, position
         ON CONFLICT (merchant, merchant_order_no) DO NOTHING RETURNING tx_no"
    ))
    .bind(recharges().map(|recharge| recharge.tx_no).collect::<Vec<_>>())
    .bind(column(|recharge| Some(&recharge.order.merchant)))
    .bind(column(|recharge| Some(recharge.order.merchant_order_no.as_str())))
    .bind(column(|recharge| Some(&recharge.order.account_no)))
    .bind(recharges().map(|recharge| recharge.order.amount.minor_units()).collect::<Vec<_>>())
    .bind(column(|recharge| Some(recharge.order.currency.code())))
    .bind(column(|recharge| Some(recharge.order.channel.as_str())))
    .bind(column(|recharge| recharge.order.attach.as_deref()))
    .bind(recharges().map(|recharge| recharge.created_at).collect::<Vec<_>>())
    .bind(column(|recharge| Some(recharge.status.name().as_str())))
    .bind(recharges().map(|recharge| recharge.status.settled_at()).collect::<Vec<_>>())
    .bind(column(|recharge| recharge.status.failure()))
    .fetch_all(connection)
    .await?;
    Ok(inserted.into_iter().collect())
}

/// The recharges that hold the order numbers of `taken`, by merchant and order number. They are
/// committed, else the numbers were not taken, and they stay.
async fn of_orders(pool: &PgPool, taken: &[&Recharge]) -> StoreResult<HashMap<(String, String), Recharge>> {
    let merchants: Vec<&str> = taken.iter().map(|recharge| recharge.order.merchant.as_str()).collect();
    let order_nos: Vec<&str> =
        taken.iter().map(|recharge| recharge.order.merchant_order_no.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM recharges WHERE (merchant, merchant_order_no) IN (SELECT * FROM UNNEST($1::text[], $2::text[]))"
    ))
    .bind(merchants)
    .bind(order_nos)
    .fetch_all(pool)
    .await?;
    let keyed = |recharge: Recharge| {
        let order = &recharge.order;
        ((order.merchant.clone(), order.merchant_order_no.as_str().to_owned()), recharge)
    };
    rows.into_iter().map(|row| row.recharge().map(keyed)).collect()
}
