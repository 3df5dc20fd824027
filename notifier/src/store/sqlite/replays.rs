//! Bulk resends.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::moves::{Resend, move_back, start_over};
use super::{SqliteStore, list_page};
use crate::domain::Replay;
use crate::domain::notification::StateName;
use crate::store::log::{Table, shown_as};
use crate::store::replay::{self, ReplayRow, Source, replay_columns};
use crate::store::rows::narrow;
use crate::store::{ReplayStep, ReplayStore};

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
        let row: Option<ReplayRow<i64>> = sqlx::query_as(concat!(
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
        let running: Option<ReplayRow<i64>> = sqlx::query_as(concat!(
            "SELECT ",
            replay_columns!(),
            " FROM replays WHERE finished_at IS NULL ORDER BY id LIMIT 1"
        ))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = running else { return Ok(ReplayStep { resent: 0, more: false }) };
        let cursor = row.cursor_id;
        let replay = row.replay()?;
        let found = find(&mut transaction, &replay, cursor, limit, now).await?;
        let resent = resend(&mut transaction, &found, now).await?;
        insert_audits(&mut transaction, &replay, &resent, next_id, now).await?;
        let through = found.len() < limit as usize;
        sqlx::query(
            "UPDATE replays SET matched = matched + ?2, resent = resent + ?3,
                 cursor_id = coalesce(?4, cursor_id), finished_at = ?5
             WHERE id = ?1",
        )
        .bind(replay.id)
        .bind(replay::count(found.len()))
        .bind(replay::count(resent.len()))
        .bind(found.last())
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
    cursor: Option<Uuid>,
    limit: u32,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Uuid>> {
    let mut found = Vec::new();
    for source in replay::sources(replay.filter.state) {
        let mut query = next(source, replay, cursor, now);
        query.push(" ORDER BY n.id LIMIT ").push_bind(i64::from(limit));
        let ids: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut *connection).await?;
        found.extend(ids);
    }
    found.sort_unstable();
    found.truncate(limit as usize);
    Ok(found)
}

/// Those of one range of an index; of a deleted subscription none.
fn next(
    (table, state): Source,
    replay: &Replay,
    cursor: Option<Uuid>,
    now: DateTime<Utc>,
) -> QueryBuilder<Sqlite> {
    let filter = &replay.filter;
    let mut query = QueryBuilder::new("SELECT n.id FROM ");
    query.push(table.name());
    query.push(" n JOIN subscriptions s ON s.id = n.subscription_id WHERE s.deleted_at IS NULL");
    query.push(" AND n.subscription_id = ").push_bind(filter.subscription.0);
    query.push(" AND n.created_at <= ").push_bind(replay.created_at.timestamp_micros());
    narrow(&mut query, " AND n.created_at >= ", filter.created_from.map(|time| time.timestamp_micros()));
    narrow(&mut query, " AND n.created_at < ", filter.created_to.map(|time| time.timestamp_micros()));
    narrow(&mut query, " AND n.id > ", cursor);
    match (table, state) {
        (Table::Finished, state) => narrow(&mut query, " AND n.state = ", state.map(StateName::as_str)),
        (Table::Waiting, None) => {}
        (Table::Waiting, Some(state)) => {
            query.push(shown_as(state));
            list_page::push_lease(&mut query, state, now);
        }
    }
    query
}

/// Those made due: all that have no attempt under way.
async fn resend(
    connection: &mut SqliteConnection,
    found: &[Uuid],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Uuid>> {
    let mut resent = Vec::with_capacity(found.len());
    for id in found {
        if start_over(connection, *id, Resend::InReplay, now).await?
            || move_back(connection, *id, Resend::InReplay, now).await?
        {
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
