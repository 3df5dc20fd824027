//! The clock's last time, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{StoreResult, hex, list};
use serde_json::json;
use uuid::Uuid;

use super::SqliteStore;
use crate::store::clock_store::{Clamped, ClockStore, Furthest, Place, SLACK, Waiting, ahead};
use crate::store::rows::StoredTime;

#[async_trait]
impl ClockStore for SqliteStore {
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>> {
        let seen: Option<i64> =
            sqlx::query_scalar("SELECT seen_at FROM clock").fetch_one(&self.database.reader).await?;
        Ok(seen.and_then(DateTime::from_timestamp_micros))
    }

    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>> {
        Ok(None)
    }

    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query(
            "UPDATE clock SET seen_at = ?1 WHERE seen_at IS NULL OR seen_at < ?1 OR seen_at > ?1 + ?2",
        )
        .bind(now.timestamp_micros())
        .bind(SLACK.num_microseconds())
        .execute(&self.database.writer)
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

impl SqliteStore {
    /// Looked up without the one writer.
    async fn waiting_after(&self, after: Place, now: DateTime<Utc>, limit: u32) -> StoreResult<Vec<Waiting>> {
        let rows: Vec<(i64, Uuid, i64, i64, bool)> = sqlx::query_as(
            "SELECT ask_at, merchant_order_no, asks, misses, ask_token IS NOT NULL FROM requests
             WHERE ask_at > ?1 AND (ask_at, merchant_order_no) < (?2, ?3)
             ORDER BY ask_at DESC, merchant_order_no DESC LIMIT ?4",
        )
        .bind(now.timestamp_micros())
        .bind(after.ask_at.timestamp_micros())
        .bind(after.merchant_order_no)
        .bind(limit)
        .fetch_all(&self.database.reader)
        .await?;
        rows.into_iter()
            .map(|(ask_at, merchant_order_no, asks, misses, is_leased)| {
                let place = Place { ask_at: ask_at.read()?, merchant_order_no };
                Ok(Waiting { place, asks, misses, is_leased })
            })
            .collect()
    }

    async fn clamp_requests(&self, ahead: &[(Place, DateTime<Utc>)]) -> StoreResult<u64> {
        if ahead.is_empty() {
            return Ok(0);
        }
        let rows = ahead.iter().map(|(place, limit_at)| {
            json!([
                hex(place.merchant_order_no),
                place.ask_at.timestamp_micros(),
                limit_at.timestamp_micros()
            ])
        });
        let clamped = sqlx::query(
            "UPDATE requests SET ask_at = ahead.value ->> 2 FROM json_each(?1) AS ahead
             WHERE merchant_order_no = unhex(ahead.value ->> 0) AND ask_at = ahead.value ->> 1",
        )
        .bind(list(rows))
        .execute(&self.database.writer)
        .await?;
        Ok(clamped.rows_affected())
    }

    async fn clamp_reconciliations(&self, limit_at: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
        let clamped = sqlx::query(
            "UPDATE reconciliations SET due_at = ?1
             WHERE id IN (SELECT id FROM reconciliations WHERE due_at > ?1 LIMIT ?2)",
        )
        .bind(limit_at.timestamp_micros())
        .bind(limit)
        .execute(&self.database.writer)
        .await?;
        Ok(clamped.rows_affected())
    }
}
