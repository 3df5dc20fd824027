//! Bulk resends.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{PostgresStore, list_page};
use crate::domain::Replay;
use crate::domain::notification::StateName;
use crate::store::log::{Table, shown_as};
use crate::store::replay::{self, ReplayRow, Source, replay_columns};
use crate::store::rows::narrow;
use crate::store::{ReplayStep, ReplayStore};

type Time = DateTime<Utc>;

#[async_trait]
impl ReplayStore for PostgresStore {
    async fn create_replay(&self, replay: &Replay) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO replays (id, subscription_id, merchant, state, created_from, created_to, actor, reason,
                 created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(replay.id)
        .bind(replay.filter.subscription.0)
        .bind(&replay.merchant)
        .bind(replay.filter.state.map(StateName::as_str))
        .bind(replay.filter.created_from)
        .bind(replay.filter.created_to)
        .bind(&replay.actor)
        .bind(&replay.reason)
        .bind(replay.created_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn replay(&self, id: Uuid, owner: Option<&str>) -> StoreResult<Option<Replay>> {
        let row: Option<ReplayRow<Time>> = sqlx::query_as(concat!(
            "SELECT ",
            replay_columns!(),
            " FROM replays WHERE id = $1 AND ($2::text IS NULL OR merchant = $2)"
        ))
        .bind(id)
        .bind(owner)
        .fetch_optional(&self.pool)
        .await?;
        row.map(ReplayRow::replay).transpose()
    }

    async fn advance_replay(
        &self,
        limit: u32,
        next_id: &(dyn Fn() -> Uuid + Send + Sync),
        now: DateTime<Utc>,
    ) -> StoreResult<ReplayStep> {
        let mut transaction = self.pool.begin().await?;
        let running: Option<ReplayRow<Time>> = sqlx::query_as(concat!(
            "SELECT ",
            replay_columns!(),
            " FROM replays WHERE finished_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
        ))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = running else { return Ok(ReplayStep { resent: 0, more: false }) };
        let cursor = row.cursor_id;
        let replay = row.replay()?;
        let found = find(&mut transaction, &replay, cursor, limit, now).await?;
        let resent = resend(&mut transaction, &replay, &found, now).await?;
        insert_audits(&mut transaction, &replay, &resent, next_id, now).await?;
        let through = found.len() < limit as usize;
        sqlx::query(
            "UPDATE replays SET matched = matched + $2, resent = resent + $3,
                 cursor_id = coalesce($4, cursor_id), finished_at = $5
             WHERE id = $1",
        )
        .bind(replay.id)
        .bind(replay::count(found.len()))
        .bind(replay::count(resent.len()))
        .bind(found.last())
        .bind(through.then_some(now))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ReplayStep { resent: resent.len(), more: true })
    }
}

/// The next notifications, oldest first.
async fn find(
    connection: &mut PgConnection,
    replay: &Replay,
    cursor: Option<Uuid>,
    limit: u32,
    now: Time,
) -> StoreResult<Vec<Uuid>> {
    let mut query = QueryBuilder::new("SELECT id FROM (");
    for (index, source) in replay::sources(replay.filter.state).enumerate() {
        query.push(if index == 0 { "(" } else { ") UNION ALL (" });
        push_next(&mut query, source, replay, cursor, now);
        query.push(" ORDER BY n.id LIMIT ").push_bind(i64::from(limit));
    }
    query.push(")) found ORDER BY id LIMIT ").push_bind(i64::from(limit));
    Ok(query.build_query_scalar().fetch_all(connection).await?)
}

/// Those of one range of an index; of a deleted subscription none.
fn push_next(
    query: &mut QueryBuilder<Postgres>,
    (table, state): Source,
    replay: &Replay,
    cursor: Option<Uuid>,
    now: Time,
) {
    let filter = &replay.filter;
    query.push("SELECT n.id FROM ").push(table.name());
    query.push(" n JOIN subscriptions s ON s.id = n.subscription_id WHERE s.deleted_at IS NULL");
    query.push(" AND n.subscription_id = ").push_bind(filter.subscription.0);
    query.push(" AND n.created_at <= ").push_bind(replay.created_at);
    narrow(query, " AND n.created_at >= ", filter.created_from);
    narrow(query, " AND n.created_at < ", filter.created_to);
    narrow(query, " AND n.id > ", cursor);
    match (table, state) {
        (Table::Finished, state) => narrow(query, " AND n.state = ", state.map(StateName::as_str)),
        (Table::Waiting, None) => {}
        (Table::Waiting, Some(state)) => {
            query.push(shown_as(state));
            list_page::push_lease(query, state, now);
        }
    }
}

/// Makes due those that have no attempt under way and are still as the replay wants them. What
/// someone else holds at this moment is under way or being resent: nothing is waited for.
async fn resend(
    connection: &mut PgConnection,
    replay: &Replay,
    found: &[Uuid],
    now: Time,
) -> StoreResult<Vec<Uuid>> {
    let mut resent = Vec::new();
    for table in Table::holding(replay.filter.state) {
        let moved: Vec<Uuid> = match table {
            Table::Waiting => sqlx::query_scalar(RESEND_WAITING).bind(found).bind(now),
            Table::Finished => {
                let state = replay.filter.state.map(StateName::as_str);
                sqlx::query_scalar(RESEND_FINISHED).bind(found).bind(now).bind(state)
            }
        }
        .fetch_all(&mut *connection)
        .await?;
        resent.extend(moved);
    }
    Ok(resent)
}

/// What was tried before goes among the retries: a replay of very many must not starve fresh results.
const RESEND_WAITING: &str = "
    UPDATE waiting SET due_at = $2, again = attempts > 0, climb = 0, lease_token = NULL,
        leased_until = NULL, updated_at = $2
    WHERE id = ANY (ARRAY(
        SELECT id FROM waiting
        WHERE id = ANY ($1) AND (leased_until IS NULL OR leased_until <= $2) FOR UPDATE SKIP LOCKED))
    RETURNING id";

const RESEND_FINISHED: &str = "
    WITH back AS (
        DELETE FROM notifications WHERE id = ANY ($1) AND id = ANY (ARRAY(
            SELECT id FROM notifications
            WHERE id = ANY ($1) AND ($3::text IS NULL OR state = $3) FOR UPDATE SKIP LOCKED))
        RETURNING *
    )
    INSERT INTO waiting (id, event_key, subscription_id, attempts, again, failure_class, due_at, created_at,
        updated_at)
    SELECT id, event_key, subscription_id, attempts, attempts > 0, failure_class, $2, created_at, $2 FROM back
    RETURNING id";

async fn insert_audits(
    connection: &mut PgConnection,
    replay: &Replay,
    resent: &[Uuid],
    next_id: &(dyn Fn() -> Uuid + Send + Sync),
    now: Time,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO audits (id, notification_id, action, actor, reason, at)
         SELECT id, notification_id, 'replay', $3, $4, $5
         FROM UNNEST($1::uuid[], $2::uuid[]) AS new (id, notification_id)",
    )
    .bind(resent.iter().map(|_| next_id()).collect::<Vec<_>>())
    .bind(resent)
    .bind(&replay.actor)
    .bind(replay::reason(replay))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
