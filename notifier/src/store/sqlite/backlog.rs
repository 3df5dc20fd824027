//! How much waits, and what operators are told of it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::outbox::OutboxStore;
use messaging::outbox::sqlite::SqliteOutbox;
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{SqliteStore, operator_events};
use crate::domain::backlog::{Limits, Waiting};
use crate::store::BacklogStore;
use crate::store::backlog::{
    Decided, MeasuredRow, RememberedRow, TURN, WaitingRow, decide, next_at, select_waiting, stored,
};

/// Microseconds since the epoch.
type Time = i64;

#[async_trait]
impl BacklogStore for SqliteStore {
    async fn measure_backlog(&self, limits: &Limits, token: Uuid, now: DateTime<Utc>) -> StoreResult<bool> {
        let turn = sqlx::query("UPDATE backlog_measurement SET token = ?1, due_at = ?2 WHERE due_at <= ?3")
            .bind(token)
            .bind((now + TURN).timestamp_micros())
            .bind(now.timestamp_micros());
        if turn.execute(&self.db.writer).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let began = Instant::now();
        let measured = self.measure(now).await?;
        let next_at = next_at(now, began.elapsed());

        let mut transaction = self.begin().await?;
        let Some(remembered) = remembered(&mut transaction, token).await? else {
            transaction.rollback().await?;
            return Ok(false);
        };
        let decided = decide(measured, &remembered, limits, now)?;
        write(&mut transaction, &decided, (now, next_at)).await?;
        operator_events::tell(&mut transaction, &decided.told, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn waiting(&self) -> StoreResult<Waiting> {
        let row: WaitingRow<Time> = sqlx::query_as(select_waiting!()).fetch_one(&self.db.reader).await?;
        row.waiting()
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(SqliteOutbox { db: self.db.clone() })
    }
}

impl SqliteStore {
    /// One walk over what waits, on a connection that keeps no writer waiting.
    async fn measure(&self, now: DateTime<Utc>) -> StoreResult<Vec<MeasuredRow<Time>>> {
        Ok(sqlx::query_as(
            "SELECT m.*, s.name, s.merchant FROM (
                 SELECT subscription_id, count(*) AS waiting,
                     count(*) FILTER (WHERE leased_until > ?1) AS delivering, min(created_at) AS oldest_at,
                     min(due_at) FILTER (WHERE leased_until IS NULL OR leased_until <= ?1) AS due_at
                 FROM waiting GROUP BY subscription_id
             ) m JOIN subscriptions s ON s.id = m.subscription_id WHERE s.deleted_at IS NULL",
        )
        .bind(now.timestamp_micros())
        .fetch_all(&self.db.reader)
        .await?)
    }
}

/// What the measurement before has left; `None` when another process has taken the turn meanwhile.
async fn remembered(
    connection: &mut SqliteConnection,
    token: Uuid,
) -> StoreResult<Option<Vec<RememberedRow>>> {
    let total: Option<RememberedRow> = sqlx::query_as(
        "SELECT NULL AS subscription_id, waiting, announced FROM backlog_measurement WHERE token = ?1",
    )
    .bind(token)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(total) = total else { return Ok(None) };
    let mut rows: Vec<RememberedRow> =
        sqlx::query_as("SELECT subscription_id, waiting, announced FROM backlogs")
            .fetch_all(connection)
            .await?;
    rows.push(total);
    Ok(Some(rows))
}

async fn write(
    connection: &mut SqliteConnection,
    decided: &Decided,
    (now, next_at): (DateTime<Utc>, DateTime<Utc>),
) -> StoreResult<()> {
    sqlx::query("DELETE FROM backlogs").execute(&mut *connection).await?;
    for (backlog, announced) in &decided.each {
        sqlx::query(
            "INSERT INTO backlogs (subscription_id, waiting, delivering, oldest_at, due_at, announced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(backlog.subscription.0)
        .bind(stored(backlog.waiting))
        .bind(stored(backlog.delivering))
        .bind(backlog.oldest_at.timestamp_micros())
        .bind(backlog.due_at.map(|at| at.timestamp_micros()))
        .bind(announced)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "UPDATE backlog_measurement
         SET token = NULL, due_at = ?1, measured_at = ?2, waiting = ?3, announced = ?4",
    )
    .bind(next_at.timestamp_micros())
    .bind(now.timestamp_micros())
    .bind(stored(decided.total.waiting))
    .bind(decided.total.announced)
    .execute(connection)
    .await?;
    Ok(())
}
