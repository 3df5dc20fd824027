//! Requests to be asked about, shared through `FOR UPDATE SKIP LOCKED`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use uuid::Uuid;

use super::{PostgresStore, again_if_collided};
use crate::domain::{DueRequest, NextAsk};
use crate::store::sweep_store::{self, SweepStore};

type DueRow = sweep_store::DueRow<DateTime<Utc>>;

#[async_trait]
impl SweepStore for PostgresStore {
    async fn claim_requests(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<Vec<DueRequest>> {
        claim(&self.pool, token, now, until, limit).await
    }

    async fn set_next_asks(&self, token: Uuid, next: &[NextAsk]) -> StoreResult<()> {
        again_if_collided(|| set_next(&self.pool, token, next)).await
    }
}

async fn claim(
    pool: &PgPool,
    token: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: u32,
) -> StoreResult<Vec<DueRequest>> {
    let rows: Vec<DueRow> = sqlx::query_as(
        "WITH due AS (
             SELECT merchant_order_no FROM requests WHERE ask_at <= $2 ORDER BY ask_at LIMIT $4
             FOR UPDATE SKIP LOCKED
         )
         UPDATE requests SET ask_token = $1, ask_at = $3 FROM due
         WHERE requests.merchant_order_no = due.merchant_order_no RETURNING requests.*",
    )
    .bind(token)
    .bind(now)
    .bind(until)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(DueRow::read).collect()
}

async fn set_next(pool: &PgPool, token: Uuid, next: &[NextAsk]) -> StoreResult<()> {
    sqlx::query(
        "UPDATE requests SET ask_at = next.at, asks = next.asks, misses = next.misses, ask_token = NULL
         FROM UNNEST($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[])
              AS next (merchant_order_no, at, asks, misses)
         WHERE requests.merchant_order_no = next.merchant_order_no AND ask_token = $1",
    )
    .bind(token)
    .bind(next.iter().map(|next| next.merchant_order_no).collect::<Vec<_>>())
    .bind(next.iter().map(|next| next.at).collect::<Vec<_>>())
    .bind(next.iter().map(|next| i64::from(next.asks)).collect::<Vec<_>>())
    .bind(next.iter().map(|next| i64::from(next.misses)).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}
