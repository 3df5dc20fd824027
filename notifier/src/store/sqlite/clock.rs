//! The clock's last time, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use super::SqliteStore;
use crate::store::clock::{
    Clamped, ClockStore, FURTHEST_DUE, FURTHEST_LEASE, FURTHEST_MEASUREMENT, FURTHEST_PROBE, SLACK,
};

#[async_trait]
impl ClockStore for SqliteStore {
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>> {
        let seen: Option<i64> =
            sqlx::query_scalar("SELECT seen_at FROM clock").fetch_one(&self.db.reader).await?;
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
        .execute(&self.db.writer)
        .await?;
        Ok(())
    }

    async fn clamp_times(&self, after: Uuid, now: DateTime<Utc>, limit: u32) -> StoreResult<Clamped> {
        let mut rows = 0;
        if after.is_nil() {
            rows += self.clamp_the_rest(now).await?;
        }
        let page: (Option<Uuid>, Option<bool>) = sqlx::query_as(PAGE)
            .bind(after)
            .bind(limit)
            .bind((now + SLACK).timestamp_micros())
            .bind((now + FURTHEST_DUE + SLACK).timestamp_micros())
            .bind((now + FURTHEST_LEASE + SLACK).timestamp_micros())
            .fetch_one(&self.db.reader)
            .await?;
        let (Some(last), any) = page else { return Ok(Clamped { rows, last: None }) };
        if any == Some(true) {
            rows += self.clamp(after, last, now).await?;
        }
        Ok(Clamped { rows, last: Some(last) })
    }
}

impl SqliteStore {
    async fn clamp_the_rest(&self, now: DateTime<Utc>) -> StoreResult<u64> {
        let mut rows = 0;
        for (statement, first, second) in [
            (CLAMP_HEALTH, FURTHEST_PROBE, FURTHEST_LEASE),
            (CLAMP_MEASUREMENT, FURTHEST_MEASUREMENT, SLACK),
            (CLAMP_SUBSCRIPTIONS, SLACK, SLACK),
        ] {
            let one = sqlx::query(statement)
                .bind(now.timestamp_micros())
                .bind((now + first).timestamp_micros())
                .bind((now + second).timestamp_micros());
            rows += one.execute(&self.db.writer).await?.rows_affected();
        }
        Ok(rows)
    }

    async fn clamp(&self, after: Uuid, last: Uuid, now: DateTime<Utc>) -> StoreResult<u64> {
        let clamped = sqlx::query(CLAMP)
            .bind(after)
            .bind(last)
            .bind(now.timestamp_micros())
            .bind((now + FURTHEST_DUE).timestamp_micros())
            .bind((now + FURTHEST_LEASE).timestamp_micros())
            .bind(SLACK.num_microseconds())
            .execute(&self.db.writer)
            .await?;
        Ok(clamped.rows_affected())
    }
}

/// Where a page ends, and whether a row of it is ahead: looked up without the one writer.
const PAGE: &str = "
    SELECT max(id), max(updated_at > ?3 OR due_at > ?4 OR coalesce(leased_until, 0) > ?5)
    FROM (SELECT * FROM waiting WHERE id > ?1 ORDER BY id LIMIT ?2)";

/// A row that was written in the future was written now: what it waits for is as far ahead of now as it
/// was when it was written.
const CLAMP: &str = "
    UPDATE waiting
    SET due_at = min(due_at - max(updated_at - ?3, 0), ?4), leased_until = min(leased_until, ?5),
        updated_at = min(updated_at, ?3)
    WHERE id > ?1 AND id <= ?2
      AND (updated_at > ?3 + ?6 OR due_at > ?4 + ?6 OR leased_until > ?5 + ?6)";

/// What was held against endpoints, and their probes. A pause that a receiver asked for in the future was
/// asked for now: it lasts as long as it was to last then, a day at most.
const CLAMP_HEALTH: &str = "
    UPDATE subscription_health
    SET failing_since = min(failing_since, ?1), failed_at = min(failed_at, ?1),
        probe_at = min(probe_at + min(?1 - coalesce(failed_at, ?1), 0),
            CASE WHEN pause_answers IS NULL THEN ?2 ELSE ?1 + 86400000000 END),
        probe_until = min(probe_until, ?3)
    WHERE failing_since > ?1 OR failed_at > ?1 OR (probe_at > ?2 AND pause_answers IS NULL)
       OR probe_at > ?1 + 86400000000 OR probe_until > ?3";

/// When what waits is measured next.
const CLAMP_MEASUREMENT: &str =
    "UPDATE backlog_measurement SET due_at = ?1 WHERE due_at > ?2 OR (measured_at > ?3 AND token IS NULL)";

/// What was changed after an attempt began is not disabled by it.
const CLAMP_SUBSCRIPTIONS: &str = "UPDATE subscriptions SET updated_at = ?1 WHERE updated_at > max(?2, ?3)";
