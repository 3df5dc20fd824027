//! The clock's last time, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;

use super::SqliteStore;
use crate::store::clock_store::{ClockStore, Furthest};

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
        let note = sqlx::query("UPDATE clock SET seen_at = ?1").bind(now.timestamp_micros());
        note.execute(&self.database.writer).await?;
        Ok(())
    }

    async fn clamp_times(&self, now: DateTime<Utc>, furthest: &Furthest) -> StoreResult<u64> {
        let mut transaction = self.database.writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut clamped = 0;
        for (asks, beyond, step) in furthest.numbered() {
            let one = sqlx::query(
                "UPDATE requests SET ask_at = ?1
                 WHERE ask_at > ?1 AND ask_token IS NULL AND misses = 0 AND (asks = ?2 OR (?3 AND asks > ?2))",
            );
            let one = one.bind((now + step).timestamp_micros()).bind(asks).bind(beyond);
            clamped += one.execute(&mut *transaction).await?.rows_affected();
        }
        for (statement, time) in [
            (
                "UPDATE requests SET ask_at = ?1 WHERE ask_at > ?1 AND ask_token IS NULL AND misses > 0",
                furthest.pause,
            ),
            ("UPDATE requests SET ask_at = ?1 WHERE ask_at > ?1 AND ask_token IS NOT NULL", furthest.lease),
            ("UPDATE reconciliations SET due_at = ?1 WHERE due_at > ?1", furthest.pause.max(furthest.lease)),
        ] {
            let one = sqlx::query(statement).bind((now + time).timestamp_micros());
            clamped += one.execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(clamped)
    }
}
