//! Bulk resends.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::notifications::push_state;
use crate::domain::Replay;
use crate::domain::notification::StateName;
use crate::store::replay::{self, Found, ReplayRow, replay_columns};
use crate::store::rows::narrow;
use crate::store::{ReplayStep, ReplayStore};

/// Microseconds since the epoch.
type Time = i64;

#[async_trait]
impl ReplayStore for SqliteStore {
    async fn create_replay(&self, replay: &Replay) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO replays (id, subscription_id, merchant, state, created_from, created_to, actor, reason,
                 created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(replay.id)
        .bind(replay.filter.subscription.0)
        .bind(&replay.merchant)
        .bind(replay.filter.state.map(StateName::as_str))
        .bind(replay.filter.created_from.map(|time| time.timestamp_micros()))
        .bind(replay.filter.created_to.map(|time| time.timestamp_micros()))
        .bind(&replay.actor)
        .bind(&replay.reason)
        .bind(replay.created_at.timestamp_micros())
        .execute(&self.db.writer)
        .await?;
        Ok(())
    }

    async fn replay(&self, id: Uuid, owner: Option<&str>) -> StoreResult<Option<Replay>> {
        let row: Option<ReplayRow<Time>> = sqlx::query_as(concat!(
            "SELECT ",
            replay_columns!(),
            " FROM replays WHERE id = ?1 AND (?2 IS NULL OR merchant = ?2)"
        ))
        .bind(id)
        .bind(owner)
        .fetch_optional(&self.db.reader)
        .await?;
        row.map(ReplayRow::replay).transpose()
    }

    async fn advance_replay(
        &self,
        limit: u32,
        next_id: &(dyn Fn() -> Uuid + Send + Sync),
        now: DateTime<Utc>,
    ) -> StoreResult<ReplayStep> {
        let mut transaction = self.begin().await?;
        let running: Option<ReplayRow<Time>> = sqlx::query_as(concat!(
            "SELECT ",
            replay_columns!(),
            " FROM replays WHERE finished_at IS NULL ORDER BY id LIMIT 1"
        ))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = running else { return Ok(ReplayStep { resent: 0, more: false }) };
        let cursor = row.cursor_created_at.zip(row.cursor_id);
        let replay = row.replay()?;
        let found = find(&mut transaction, &replay, cursor, limit, now).await?;
        let resent = resend(&mut transaction, &found, now).await?;
        insert_audits(&mut transaction, &replay, &resent, next_id, now).await?;
        let through = found.len() < limit as usize;
        let last = found.last();
        sqlx::query(
            "UPDATE replays SET matched = matched + ?2, resent = resent + ?3,
                 cursor_created_at = coalesce(?4, cursor_created_at), cursor_id = coalesce(?5, cursor_id),
                 finished_at = ?6
             WHERE id = ?1",
        )
        .bind(replay.id)
        .bind(replay::count(found.len()))
        .bind(replay::count(resent.len()))
        .bind(last.map(|found| found.created_at))
        .bind(last.map(|found| found.id))
        .bind(through.then_some(now.timestamp_micros()))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ReplayStep { resent: resent.len(), more: true })
    }
}

/// The next notifications, oldest first.
async fn find(
    connection: &mut SqliteConnection,
    replay: &Replay,
    cursor: Option<(Time, Uuid)>,
    limit: u32,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Found<Time>>> {
    let filter = &replay.filter;
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT n.id, n.created_at FROM notifications n JOIN subscriptions s ON s.id = n.subscription_id
         WHERE s.deleted_at IS NULL AND n.subscription_id = ",
    );
    query.push_bind(filter.subscription.0);
    query.push(" AND n.created_at <= ").push_bind(replay.created_at.timestamp_micros());
    narrow(&mut query, " AND n.created_at >= ", filter.created_from.map(|time| time.timestamp_micros()));
    narrow(&mut query, " AND n.created_at < ", filter.created_to.map(|time| time.timestamp_micros()));
    if let Some((created_at, id)) = cursor {
        query.push(" AND (n.created_at, n.id) > (").push_bind(created_at);
        query.push(", ").push_bind(id).push(")");
    }
    if let Some(state) = filter.state {
        push_state(&mut query, state, now);
    }
    query.push(" ORDER BY n.created_at, n.id LIMIT ").push_bind(i64::from(limit));
    Ok(query.build_query_as().fetch_all(connection).await?)
}

/// Those made due: all that have no attempt under way.
async fn resend(
    connection: &mut SqliteConnection,
    found: &[Found<Time>],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Uuid>> {
    let mut resent = Vec::with_capacity(found.len());
    for Found { id, .. } in found {
        let updated = sqlx::query(
            "UPDATE notifications SET state = 'pending', due_at = ?2, climb = 0, lease_token = NULL,
                 updated_at = ?2
             WHERE id = ?1 AND NOT (state = 'pending' AND lease_token IS NOT NULL AND due_at > ?2)",
        )
        .bind(id)
        .bind(now.timestamp_micros())
        .execute(&mut *connection)
        .await?;
        if updated.rows_affected() == 1 {
            resent.push(*id);
        }
    }
    Ok(resent)
}

async fn insert_audits(
    connection: &mut SqliteConnection,
    replay: &Replay,
    resent: &[Uuid],
    next_id: &(dyn Fn() -> Uuid + Send + Sync),
    now: DateTime<Utc>,
) -> StoreResult<()> {
    for id in resent {
        sqlx::query(
            "INSERT INTO audits (id, notification_id, action, actor, reason, at)
             VALUES (?1, ?2, 'replay', ?3, ?4, ?5)",
        )
        .bind(next_id())
        .bind(id)
        .bind(&replay.actor)
        .bind(replay::reason(replay))
        .bind(now.timestamp_micros())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
