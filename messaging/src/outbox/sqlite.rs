//! The outbox in `SQLite`.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::database::{Sqlite, StoreResult, hex, hex_list, list};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Claimed, Furthest, OutboxStore, RowLease, SLACK, stored_event};
use crate::event::Event;

/// The table `outbox` in a database file.
#[derive(Debug, Clone)]
pub struct SqliteOutbox {
    /// The publishing service's database.
    pub db: Sqlite,
}

/// Writes `events` as part of the caller's transaction (law 1), due at `now`. Ring the relay after
/// the commit, or hand them over when they are written under its `lease`. An event that waits
/// already waits once.
pub async fn insert(
    connection: &mut SqliteConnection,
    events: &[Event],
    lease: Option<RowLease>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let row = |event: &Event| json!([hex(event.key().0), event.to_json_text()]);
    sqlx::query(
        "INSERT INTO outbox (id, event, due_at, created_at, lease_token, lease_until)
         SELECT unhex(value ->> 0), value ->> 1, ?2, ?2, ?3, ?4 FROM json_each(?1) WHERE TRUE
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(list(events.iter().map(row)))
    .bind(now.timestamp_micros())
    .bind(lease.map(|lease| lease.token))
    .bind(lease.map(|lease| lease.until.timestamp_micros()))
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl OutboxStore for SqliteOutbox {
    async fn claim(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        ended: DateTime<Utc>,
        lease: Duration,
        limit: u32,
    ) -> StoreResult<Vec<Claimed>> {
        if !self.has_due(now, ended).await? {
            return Ok(Vec::new());
        }
        let until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
        let mut rows: Vec<(i64, Uuid, i64, String)> = sqlx::query_as(
            "UPDATE outbox SET lease_token = ?1, lease_until = ?3
             WHERE id IN (
                 SELECT id FROM outbox
                 WHERE due_at <= ?2 AND (lease_until IS NULL OR lease_until <= ?5)
                 ORDER BY due_at, id LIMIT ?4
             )
             RETURNING due_at, id, failures, event",
        )
        .bind(token)
        .bind(now.timestamp_micros())
        .bind(until.timestamp_micros())
        .bind(limit)
        .bind(ended.timestamp_micros())
        .fetch_all(&self.db.writer)
        .await?;
        rows.sort_unstable_by_key(|(due_at, id, ..)| (*due_at, *id));
        rows.into_iter().map(|(_, id, failures, text)| stored_event(id, failures, &text)).collect()
    }

    async fn clamp(&self, now: DateTime<Utc>, furthest: Furthest, limit: u32) -> StoreResult<u64> {
        let (wait, lease) = furthest.at(now);
        let clamped = sqlx::query(
            "UPDATE outbox SET due_at = min(due_at, iif(failures = 0, ?1, ?2)),
                 lease_until = min(lease_until, ?3), created_at = min(created_at, ?1)
             WHERE id IN (
                 SELECT id FROM outbox
                 WHERE (due_at > ?1 + ?4 AND failures = 0) OR due_at > ?2 + ?4 OR lease_until > ?3 + ?4
                 LIMIT ?5)",
        )
        .bind(now.timestamp_micros())
        .bind(wait.timestamp_micros())
        .bind(lease.timestamp_micros())
        .bind(SLACK.num_microseconds())
        .bind(limit)
        .execute(&self.db.writer)
        .await?;
        Ok(clamped.rows_affected())
    }

    async fn finish(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()> {
        sqlx::query(
            "DELETE FROM outbox
             WHERE id IN (SELECT unhex(value) FROM json_each(?2)) AND lease_token = ?1",
        )
        .bind(token)
        .bind(hex_list(ids.iter().copied()))
        .execute(&self.db.writer)
        .await?;
        Ok(())
    }

    async fn postpone(&self, token: Uuid, rows: &[(Uuid, DateTime<Utc>)]) -> StoreResult<()> {
        let late = rows.iter().map(|(id, due)| json!([hex(*id), due.timestamp_micros()]));
        sqlx::query(
            "UPDATE outbox
             SET due_at = late.due_at, failures = failures + 1, lease_token = NULL, lease_until = NULL
             FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS due_at FROM json_each(?2)) AS late
             WHERE outbox.id = late.id AND lease_token = ?1",
        )
        .bind(token)
        .bind(list(late))
        .execute(&self.db.writer)
        .await?;
        Ok(())
    }

    async fn release(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()> {
        sqlx::query(
            "UPDATE outbox SET lease_token = NULL, lease_until = NULL
             WHERE id IN (SELECT unhex(value) FROM json_each(?2)) AND lease_token = ?1",
        )
        .bind(token)
        .bind(hex_list(ids.iter().copied()))
        .execute(&self.db.writer)
        .await?;
        Ok(())
    }

    async fn backlog(&self) -> StoreResult<(u64, Option<DateTime<Utc>>)> {
        let (count, oldest): (i64, Option<i64>) =
            sqlx::query_as("SELECT count(*), min(created_at) FROM outbox").fetch_one(&self.db.reader).await?;
        Ok((count.unsigned_abs(), oldest.and_then(DateTime::from_timestamp_micros)))
    }
}

impl SqliteOutbox {
    /// A poll that finds nothing must not cost a write.
    async fn has_due(&self, now: DateTime<Utc>, ended: DateTime<Utc>) -> StoreResult<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM outbox
             WHERE due_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?2))",
        )
        .bind(now.timestamp_micros())
        .bind(ended.timestamp_micros())
        .fetch_one(&self.db.reader)
        .await?)
    }
}
