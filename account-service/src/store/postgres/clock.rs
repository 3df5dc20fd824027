//! The clock's last time, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;

use super::{PostgresStore, again_if_collided};
use crate::store::clock_store::{ClockStore, Furthest};

#[async_trait]
impl ClockStore for PostgresStore {
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>> {
        Ok(sqlx::query_scalar("SELECT seen_at FROM clock").fetch_one(&self.pool).await?)
    }

    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>> {
        Ok(Some(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await?))
    }

    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query("UPDATE clock SET seen_at = $1").bind(now).execute(&self.pool).await?;
        Ok(())
    }

    async fn clamp_times(&self, now: DateTime<Utc>, furthest: &Furthest) -> StoreResult<u64> {
        again_if_collided(|| self.clamp(now, furthest)).await
    }
}

impl PostgresStore {
    async fn clamp(&self, now: DateTime<Utc>, furthest: &Furthest) -> StoreResult<u64> {
        let mut clamped = 0;
        for (asks, beyond, step) in furthest.numbered() {
            let one = sqlx::query(
                "UPDATE requests SET ask_at = $1
                 WHERE ask_at > $1 AND ask_token IS NULL AND misses = 0 AND (asks = $2 OR ($3 AND asks > $2))",
            );
            let one = one.bind(now + step).bind(asks).bind(beyond);
            clamped += one.execute(&self.pool).await?.rows_affected();
        }
        for (statement, time) in [
            (
                "UPDATE requests SET ask_at = $1 WHERE ask_at > $1 AND ask_token IS NULL AND misses > 0",
                furthest.pause,
            ),
            ("UPDATE requests SET ask_at = $1 WHERE ask_at > $1 AND ask_token IS NOT NULL", furthest.lease),
            ("UPDATE reconciliations SET due_at = $1 WHERE due_at > $1", furthest.pause.max(furthest.lease)),
        ] {
            clamped += sqlx::query(statement).bind(now + time).execute(&self.pool).await?.rows_affected();
        }
        Ok(clamped)
    }
}
