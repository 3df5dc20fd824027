//! The clock's last time, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use super::PostgresStore;
use crate::store::clock_store::{Clamped, ClockStore, Furthest, Place, SLACK, Waiting, ahead};

#[async_trait]
impl ClockStore for PostgresStore {
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>> {
        Ok(sqlx::query_scalar("SELECT seen_at FROM clock").fetch_one(&self.pool).await?)
    }

    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>> {
        Ok(Some(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await?))
    }

    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query(
            "UPDATE clock SET seen_at = $1 WHERE seen_at IS NULL OR seen_at < $1 OR seen_at > $1 + $2",
        )
        .bind(now)
        .bind(SLACK)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn clamp_times(
        &self,
        after: Place,
        now: DateTime<Utc>,
        furthest: &Furthest,
        limit: u32,
    ) -> StoreResult<Clamped> {
        let mut rows = 0;
        if after == Place::FIRST {
            rows += self.clamp_reconciliations(now + furthest.of_reconciliation(), limit).await?;
        }
        let page = self.waiting_after(after, now, limit).await?;
        rows += self.clamp_requests(&ahead(&page, now, furthest)).await?;
        Ok(Clamped { rows, last: page.last().map(|waiting| waiting.place) })
    }
}

impl PostgresStore {
    async fn waiting_after(&self, after: Place, now: DateTime<Utc>, limit: u32) -> StoreResult<Vec<Waiting>> {
        let rows: Vec<(DateTime<Utc>, Uuid, i64, i64, bool)> = sqlx::query_as(
            "SELECT ask_at, merchant_order_no, asks, misses, ask_token IS NOT NULL FROM requests
             WHERE ask_at > $1 AND (ask_at, merchant_order_no) < ($2, $3)
             ORDER BY ask_at DESC, merchant_order_no DESC LIMIT $4",
        )
        .bind(now)
        .bind(after.ask_at)
        .bind(after.merchant_order_no)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let waiting = rows.into_iter().map(|(ask_at, merchant_order_no, asks, misses, is_leased)| Waiting {
            place: Place { ask_at, merchant_order_no },
            asks,
            misses,
            is_leased,
        });
        Ok(waiting.collect())
    }

    /// What another process holds is being changed; whatever comes of it is looked at a minute later.
    async fn clamp_requests(&self, ahead: &[(Place, DateTime<Utc>)]) -> StoreResult<u64> {
        if ahead.is_empty() {
            return Ok(0);
        }
        let clamped = sqlx::query(
            "WITH ahead AS MATERIALIZED (
                 SELECT r.ctid AS place, found.limit_at
                 FROM UNNEST($1::uuid[], $2::timestamptz[], $3::timestamptz[])
                      AS found (merchant_order_no, ask_at, limit_at)
                 JOIN requests r ON r.merchant_order_no = found.merchant_order_no AND r.ask_at = found.ask_at
                 FOR UPDATE OF r SKIP LOCKED
             )
             UPDATE requests SET ask_at = ahead.limit_at FROM ahead WHERE requests.ctid = ahead.place",
        )
        .bind(ahead.iter().map(|(place, _)| place.merchant_order_no).collect::<Vec<_>>())
        .bind(ahead.iter().map(|(place, _)| place.ask_at).collect::<Vec<_>>())
        .bind(ahead.iter().map(|(_, limit_at)| *limit_at).collect::<Vec<_>>())
        .execute(&self.pool)
        .await?;
        Ok(clamped.rows_affected())
    }

    async fn clamp_reconciliations(&self, limit_at: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let clamped = sqlx::query(
            "UPDATE reconciliations SET due_at = $1 WHERE id = ANY (ARRAY(
                 SELECT id FROM reconciliations WHERE due_at > $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        )
        .bind(limit_at)
        .bind(i64::from(limit))
        .execute(&self.pool)
        .await?;
        Ok(clamped.rows_affected())
    }
}
