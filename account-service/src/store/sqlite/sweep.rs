//! Requests to be asked about, taken under leases.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{Sqlite, StoreResult, hex};
use serde_json::json;
use uuid::Uuid;

use super::SqliteStore;
use crate::domain::{DueRequest, NextAsk};
use crate::store::sweep_store::{self, SweepStore};

type DueRow = sweep_store::DueRow<i64>;

#[async_trait]
impl SweepStore for SqliteStore {
    async fn claim_requests(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<Vec<DueRequest>> {
        claim(&self.database, token, now, until, limit).await
    }

    async fn set_next_asks(&self, token: Uuid, next: &[NextAsk]) -> StoreResult<()> {
        set_next(&self.database, token, next).await
    }
}

async fn claim(
    database: &Sqlite,
    token: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: u32,
) -> StoreResult<Vec<DueRequest>> {
    if !is_due(database, now).await? {
        return Ok(Vec::new());
    }
    let rows: Vec<DueRow> = sqlx::query_as(
        "UPDATE requests SET ask_token = ?1, ask_at = ?3 WHERE merchant_order_no IN (
             SELECT merchant_order_no FROM requests WHERE ask_at <= ?2 ORDER BY ask_at LIMIT ?4
         ) RETURNING *",
    )
    .bind(token)
    .bind(now.timestamp_micros())
    .bind(until.timestamp_micros())
    .bind(limit)
    .fetch_all(&database.writer)
    .await?;
    rows.into_iter().map(DueRow::read).collect()
}

/// A look that finds nothing must not cost a write.
async fn is_due(database: &Sqlite, now: DateTime<Utc>) -> StoreResult<bool> {
    let due = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM requests WHERE ask_at <= ?1)")
        .bind(now.timestamp_micros())
        .fetch_one(&database.reader)
        .await?;
    Ok(due)
}

async fn set_next(database: &Sqlite, token: Uuid, next: &[NextAsk]) -> StoreResult<()> {
    let row = |next: &NextAsk| {
        let at = next.at.map(|at| at.timestamp_micros());
        json!([hex(next.merchant_order_no), at, next.asks, next.misses])
    };
    let rows: Vec<_> = next.iter().map(row).collect();
    sqlx::query(
        "UPDATE requests SET ask_at = next.value ->> 1, asks = next.value ->> 2, misses = next.value ->> 3,
                             ask_token = NULL
         FROM json_each(?2) AS next WHERE merchant_order_no = unhex(next.value ->> 0) AND ask_token = ?1",
    )
    .bind(token)
    .bind(json!(rows).to_string())
    .execute(&database.writer)
    .await?;
    Ok(())
}
