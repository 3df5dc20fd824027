//! The clock's last time, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use super::PostgresStore;
use crate::store::clock::{
    Clamped, ClockStore, FURTHEST_DUE, FURTHEST_LEASE, FURTHEST_MEASUREMENT, FURTHEST_PROBE, SLACK,
};

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

    async fn clamp_times(&self, after: Uuid, now: DateTime<Utc>, limit: u32) -> StoreResult<Clamped> {
        let mut rows = 0;
        if after.is_nil() {
            rows += self.clamp_the_rest(now).await?;
        }
        let last: Option<Uuid> = sqlx::query_scalar(
            "SELECT id FROM (SELECT id FROM waiting WHERE id > $1 ORDER BY id LIMIT $2) page
             ORDER BY id DESC LIMIT 1",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_optional(&self.pool)
        .await?;
        let Some(last) = last else { return Ok(Clamped { rows, last: None }) };
        rows += sqlx::query(CLAMP)
            .bind(after)
            .bind(last)
            .bind(now)
            .bind(now + FURTHEST_DUE)
            .bind(now + FURTHEST_LEASE)
            .bind(SLACK)
            .execute(&self.pool)
            .await?
            .rows_affected();
        Ok(Clamped { rows, last: Some(last) })
    }
}

impl PostgresStore {
    async fn clamp_the_rest(&self, now: DateTime<Utc>) -> StoreResult<u64> {
        let mut rows = 0;
        for (statement, first, second) in [
            (CLAMP_HEALTH, FURTHEST_PROBE, FURTHEST_LEASE),
            (CLAMP_MEASUREMENT, FURTHEST_MEASUREMENT, SLACK),
            (CLAMP_SUBSCRIPTIONS, SLACK, SLACK),
        ] {
            let one = sqlx::query(statement).bind(now).bind(now + first).bind(now + second);
            rows += one.execute(&self.pool).await?.rows_affected();
        }
        Ok(rows)
    }
}

/// A row that was written in the future was written now: what it waits for is as far ahead of now as it
/// was when it was written. Locked in the order of ids, as results are. `LEAST` passes over NULL, so
/// a column that may be NULL is compared instead.
const CLAMP: &str = "
    WITH ahead AS MATERIALIZED (
        SELECT ctid AS place FROM waiting
        WHERE id > $1 AND id <= $2
          AND (updated_at > $3 + $6 OR due_at > $4 + $6 OR leased_until > $5 + $6)
        ORDER BY id FOR UPDATE
    )
    UPDATE waiting n
    SET due_at = LEAST(due_at - GREATEST(updated_at - $3, interval '0'), $4),
        leased_until = CASE WHEN leased_until > $5 THEN $5 ELSE leased_until END,
        updated_at = LEAST(updated_at, $3)
    FROM ahead WHERE n.ctid = ahead.place";

/// What was held against endpoints, and their probes. A pause that a receiver asked for in the future was
/// asked for now: it lasts as long as it was to last then, a day at most.
const CLAMP_HEALTH: &str = "
    UPDATE subscription_health
    SET failing_since = LEAST(failing_since, $1),
        failed_at = CASE WHEN failed_at > $1 THEN $1 ELSE failed_at END,
        probe_at = CASE WHEN probe_at IS NOT NULL THEN LEAST(probe_at + LEAST($1 - failed_at, interval '0'),
            CASE WHEN pause_answers IS NULL THEN $2 ELSE $1 + interval '1 day' END) END,
        probe_until = CASE WHEN probe_until > $3 THEN $3 ELSE probe_until END
    WHERE failing_since > $1 OR failed_at > $1 OR (probe_at > $2 AND pause_answers IS NULL)
       OR probe_at > $1 + interval '1 day' OR probe_until > $3";

/// When what waits is measured next.
const CLAMP_MEASUREMENT: &str =
    "UPDATE backlog_measurement SET due_at = $1 WHERE due_at > $2 OR (measured_at > $3 AND token IS NULL)";

/// What was changed after an attempt began is not disabled by it.
const CLAMP_SUBSCRIPTIONS: &str =
    "UPDATE subscriptions SET updated_at = $1 WHERE updated_at > GREATEST($2, $3)";
