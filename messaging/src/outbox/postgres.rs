//! The outbox in Postgres: relays share it through `FOR UPDATE SKIP LOCKED`.
//!
//! Taking and forgetting rows commits without waiting for the disk, each in its one statement: what
//! a crash of the server undoes there is a row that is published again, which at least once allows
//! and every receiver's dedup bears. Writing rows waits, with the transaction it belongs to.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::database::{PgPool, StoreResult};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Claimed, Furthest, OutboxStore, RowLease, SLACK, stored_event};
use crate::event::Event;

/// The table `outbox` behind a pool.
#[derive(Debug, Clone)]
pub struct PostgresOutbox {
    /// The publishing service's database.
    pub pool: PgPool,
}

/// Writes `events` as part of the caller's transaction (law 1), due at `now`. Ring the relay after
/// the commit, or hand them over when they are written under its `lease`. An event that waits
/// already waits once.
pub async fn insert(
    connection: &mut PgConnection,
    events: &[Event],
    lease: Option<RowLease>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = events.iter().map(|event| event.key().0).collect();
    let texts: Vec<String> = events.iter().map(Event::to_json_text).collect();
    sqlx::query(
        "INSERT INTO outbox (id, event, due_at, created_at, lease_token, lease_until)
         SELECT id, event, $3, $3, $4, $5 FROM UNNEST($1::uuid[], $2::text[]) AS new (id, event)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(ids)
    .bind(texts)
    .bind(now)
    .bind(lease.map(|lease| lease.token))
    .bind(lease.map(|lease| lease.until))
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl OutboxStore for PostgresOutbox {
    async fn claim(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        ended: DateTime<Utc>,
        lease: Duration,
        limit: u32,
    ) -> StoreResult<Vec<Claimed>> {
        let until = now + TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX);
        let rows: Vec<(Uuid, i32, String)> = sqlx::query_as(
            "WITH due AS (
                 SELECT ctid AS place FROM outbox
                 WHERE due_at <= $2 AND (lease_until IS NULL OR lease_until <= $5)
                 ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
             ), claimed AS (
                 UPDATE outbox SET lease_token = $1, lease_until = $3
                 FROM due WHERE outbox.ctid = due.place
                 RETURNING outbox.id, outbox.failures, outbox.event, outbox.due_at
             ), unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
             SELECT id, failures, event FROM claimed CROSS JOIN unhurried ORDER BY due_at, id",
        )
        .bind(token)
        .bind(now)
        .bind(until)
        .bind(i64::from(limit))
        .bind(ended)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|(id, failures, text)| stored_event(id, i64::from(failures), &text)).collect()
    }

    async fn clamp(&self, now: DateTime<Utc>, furthest: Furthest, limit: u32) -> StoreResult<u64> {
        let (wait, lease) = furthest.at(now);
        let clamped = sqlx::query(
            "UPDATE outbox SET due_at = LEAST(due_at, CASE WHEN failures = 0 THEN $1 ELSE $2 END),
                 lease_until = CASE WHEN lease_until > $3 THEN $3 ELSE lease_until END,
                 created_at = LEAST(created_at, $1)
             WHERE id = ANY (ARRAY(
                 SELECT id FROM outbox
                 WHERE (due_at > $1 + $4 AND failures = 0) OR due_at > $2 + $4 OR lease_until > $3 + $4
                 LIMIT $5 FOR UPDATE SKIP LOCKED))",
        )
        .bind(now)
        .bind(wait)
        .bind(lease)
        .bind(SLACK)
        .bind(i64::from(limit))
        .execute(&self.pool)
        .await?;
        Ok(clamped.rows_affected())
    }

    async fn finish(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()> {
        sqlx::query(
            "WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
             DELETE FROM outbox USING unhurried WHERE id = ANY($2) AND lease_token = $1",
        )
        .bind(token)
        .bind(ids)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn postpone(&self, token: Uuid, rows: &[(Uuid, DateTime<Utc>)]) -> StoreResult<()> {
        let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = rows.iter().copied().unzip();
        sqlx::query(
            "UPDATE outbox
             SET due_at = late.due_at, failures = failures + 1, lease_token = NULL, lease_until = NULL
             FROM UNNEST($2::uuid[], $3::timestamptz[]) AS late (id, due_at),
                 LATERAL (SELECT ctid AS place FROM outbox WHERE id = late.id OFFSET 0) found
             WHERE outbox.ctid = found.place AND outbox.lease_token = $1",
        )
        .bind(token)
        .bind(ids)
        .bind(times)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn release(&self, token: Uuid, ids: &[Uuid]) -> StoreResult<()> {
        sqlx::query(
            "UPDATE outbox SET lease_token = NULL, lease_until = NULL
             WHERE id = ANY($2) AND lease_token = $1",
        )
        .bind(token)
        .bind(ids)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn backlog(&self) -> StoreResult<(u64, Option<DateTime<Utc>>)> {
        let (count, oldest): (i64, Option<DateTime<Utc>>) =
            sqlx::query_as("SELECT count(*), min(created_at) FROM outbox").fetch_one(&self.pool).await?;
        Ok((count.unsigned_abs(), oldest))
    }
}
