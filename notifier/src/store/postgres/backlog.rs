//! How much waits, and what operators are told of it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::outbox::OutboxStore;
use messaging::outbox::postgres::PostgresOutbox;
use runtime::database::StoreResult;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{PostgresStore, operator_events};
use crate::domain::backlog::{Backlog, Limits, Waiting};
use crate::store::BacklogStore;
use crate::store::backlog::{
    Decided, MeasuredRow, RememberedRow, TURN, WaitingRow, decide, next_at, select_waiting, stored,
};

type Time = DateTime<Utc>;

#[async_trait]
impl BacklogStore for PostgresStore {
    async fn measure_backlog(&self, limits: &Limits, token: Uuid, now: Time) -> StoreResult<bool> {
        let turn = sqlx::query("UPDATE backlog_measurement SET token = $1, due_at = $2 WHERE due_at <= $3")
            .bind(token)
            .bind(now + TURN)
            .bind(now);
        if turn.execute(&self.pool).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let began = Instant::now();
        let measured = self.measure(now).await?;
        let next_at = next_at(now, began.elapsed());

        let mut transaction = self.pool.begin().await?;
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
        let row: WaitingRow<Time> = sqlx::query_as(select_waiting!()).fetch_one(&self.pool).await?;
        row.waiting()
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(PostgresOutbox { pool: self.pool.clone() })
    }
}

impl PostgresStore {
    /// One walk over what waits, by one process of the server, so that it takes little from others.
    async fn measure(&self, now: Time) -> StoreResult<Vec<MeasuredRow<Time>>> {
        let mut transaction = self.pool.begin().await?;
        for bound in ["SET LOCAL max_parallel_workers_per_gather = 0", "SET LOCAL statement_timeout = '4min'"]
        {
            sqlx::query(bound).execute(&mut *transaction).await?;
        }
        let measured = sqlx::query_as(
            "SELECT m.*, s.name, s.merchant FROM (
                 SELECT subscription_id, count(*) AS waiting,
                     count(*) FILTER (WHERE leased_until > $1) AS delivering, min(created_at) AS oldest_at,
                     min(due_at) FILTER (WHERE leased_until IS NULL OR leased_until <= $1) AS due_at
                 FROM waiting GROUP BY subscription_id
             ) m JOIN subscriptions s ON s.id = m.subscription_id WHERE s.deleted_at IS NULL",
        )
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(measured)
    }
}

/// What the measurement before has left; `None` when another process has taken the turn meanwhile.
async fn remembered(connection: &mut PgConnection, token: Uuid) -> StoreResult<Option<Vec<RememberedRow>>> {
    let total: Option<RememberedRow> = sqlx::query_as(
        "SELECT NULL::uuid AS subscription_id, waiting, announced FROM backlog_measurement
         WHERE token = $1 FOR UPDATE",
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
    connection: &mut PgConnection,
    decided: &Decided,
    (now, next_at): (Time, Time),
) -> StoreResult<()> {
    sqlx::query("DELETE FROM backlogs").execute(&mut *connection).await?;
    let backlogs = || decided.each.iter().map(|(backlog, _)| backlog);
    let counts = |of: fn(&Backlog) -> u64| backlogs().map(|b| stored(of(b))).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO backlogs (subscription_id, waiting, delivering, oldest_at, due_at, announced)
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[],
             $6::boolean[])",
    )
    .bind(backlogs().map(|backlog| backlog.subscription.0).collect::<Vec<_>>())
    .bind(counts(|backlog| backlog.waiting))
    .bind(counts(|backlog| backlog.delivering))
    .bind(backlogs().map(|backlog| backlog.oldest_at).collect::<Vec<_>>())
    .bind(backlogs().map(|backlog| backlog.due_at).collect::<Vec<_>>())
    .bind(decided.each.iter().map(|(_, announced)| *announced).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE backlog_measurement
         SET token = NULL, due_at = $1, measured_at = $2, waiting = $3, announced = $4",
    )
    .bind(next_at)
    .bind(now)
    .bind(stored(decided.total.waiting))
    .bind(decided.total.announced)
    .execute(connection)
    .await?;
    Ok(())
}
