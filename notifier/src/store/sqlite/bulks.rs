//! Bulk resends and cancellations.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{StoreResult, hex, list};
use runtime::http::Page;
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::moves::{self, Resend, move_back, start_over};
use super::{SqliteStore, bulk_search};
use crate::domain::bulk::{Bulk, BulkAction};
use crate::domain::{EventPattern, LimitReached};
use crate::store::bulk::{BulkRow, Done, LookRow, bulk_columns, classes_text};
use crate::store::{BulkLook, BulkStep, BulkStore, BulksFilter};

#[async_trait]
impl BulkStore for SqliteStore {
    async fn create_bulk(&self, bulk: &Bulk, limit: u32) -> StoreResult<Result<(), LimitReached>> {
        // One statement of the one writer: it counts all that were created before.
        let inserted = sqlx::query(
            "INSERT INTO bulks (id, action, subscription_id, merchant, states, event_type, failure_classes,
                 created_from, created_to, actor, reason, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
             WHERE (SELECT count(*) FROM bulks
                 WHERE coalesce(merchant, '') = coalesce(?4, '') AND finished_at IS NULL) < ?13",
        )
        .bind(bulk.id)
        .bind(bulk.action.as_str())
        .bind(bulk.filter.subscription.map(|id| id.0))
        .bind(&bulk.merchant)
        .bind(bulk.filter.states.to_string())
        .bind(bulk.filter.event_type.as_ref().map(EventPattern::as_str))
        .bind(classes_text(&bulk.filter))
        .bind(bulk.filter.created_from.map(|time| time.timestamp_micros()))
        .bind(bulk.filter.created_to.map(|time| time.timestamp_micros()))
        .bind(&bulk.actor)
        .bind(&bulk.reason)
        .bind(bulk.created_at.timestamp_micros())
        .bind(limit)
        .execute(&self.db.writer)
        .await?;
        let is_kept = inserted.rows_affected() > 0;
        Ok(if is_kept { Ok(()) } else { Err(LimitReached::BulkActions(limit)) })
    }

    async fn bulk(&self, action: BulkAction, id: Uuid, owner: Option<&str>) -> StoreResult<Option<Bulk>> {
        let row: Option<BulkRow<i64>> = sqlx::query_as(concat!(
            "SELECT ",
            bulk_columns!(),
            " FROM bulks WHERE id = ?1 AND action = ?2 AND (?3 IS NULL OR merchant = ?3)"
        ))
        .bind(id)
        .bind(action.as_str())
        .bind(owner)
        .fetch_optional(&self.db.reader)
        .await?;
        row.map(BulkRow::bulk).transpose()
    }

    async fn bulks(&self, filter: &BulksFilter, page: Page) -> StoreResult<Vec<Bulk>> {
        let rows: Vec<BulkRow<i64>> = sqlx::query_as(concat!(
            "SELECT ",
            bulk_columns!(),
            " FROM bulks WHERE action = ?1 AND (?2 IS NULL OR merchant = ?2)
             AND (?3 IS NULL OR subscription_id = ?3) AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5"
        ))
        .bind(filter.action.as_str())
        .bind(&filter.owner)
        .bind(filter.subscription.map(|id| id.0))
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.db.reader)
        .await?;
        rows.into_iter().map(BulkRow::bulk).collect()
    }

    async fn advance_bulk(
        &self,
        limit: u32,
        next_id: &(dyn Fn() -> Uuid + Send + Sync),
        now: DateTime<Utc>,
    ) -> StoreResult<BulkStep> {
        let mut transaction = self.begin().await?;
        let running: Option<BulkRow<i64>> = sqlx::query_as(concat!(
            "SELECT ",
            bulk_columns!(),
            " FROM bulks WHERE finished_at IS NULL ORDER BY coalesce((
                 SELECT t.turn FROM bulk_turns t WHERE t.merchant = coalesce(bulks.merchant, '')), 0), turn, id
             LIMIT 1"
        ))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = running else {
            transaction.rollback().await?;
            return Ok(BulkStep { changed: 0, more: false });
        };
        let cursor = row.cursor_id;
        let bulk = row.bulk()?;
        let found = bulk_search::find(&mut transaction, &bulk, cursor, limit, now).await?;
        let changed = change(&mut transaction, bulk.action, &found.ids, now).await?;
        insert_audits(&mut transaction, &bulk, &changed, next_id, now).await?;
        let done = Done::of(bulk.action, &found, &changed);
        write(&mut transaction, bulk.id, &done, now).await?;
        end_turn(&mut transaction, bulk.merchant.as_deref()).await?;
        transaction.commit().await?;
        Ok(BulkStep { changed: changed.len(), more: done.more })
    }

    async fn look_for_bulk(
        &self,
        bulk: &Bulk,
        cursor: Option<Uuid>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> StoreResult<BulkLook> {
        let mut connection = self.db.reader.acquire().await?;
        let found = bulk_search::find(&mut connection, bulk, cursor, limit, now).await?;
        let rows: Vec<LookRow> = sqlx::query_as(
            "WITH looked AS MATERIALIZED (SELECT unhex(value) AS id FROM json_each(?1))
             SELECT s.id, s.name, s.merchant, s.state, s.disabled_reason, count(*) AS matched
             FROM (SELECT subscription_id FROM waiting WHERE id IN (SELECT id FROM looked)
                 UNION ALL SELECT subscription_id FROM notifications WHERE id IN (SELECT id FROM looked)) n
             JOIN subscriptions s ON s.id = n.subscription_id GROUP BY s.id",
        )
        .bind(list(found.ids.iter().map(|id| json!(hex(*id)))))
        .fetch_all(&mut *connection)
        .await?;
        connection.release();
        let found_of = rows.into_iter().map(LookRow::previewed).collect::<StoreResult<_>>()?;
        Ok(BulkLook { found: found_of, cursor: found.cursor })
    }
}

/// The next turn of `merchant` comes after that of every other one.
async fn end_turn(connection: &mut SqliteConnection, merchant: Option<&str>) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO bulk_turns (merchant, turn) SELECT ?1, coalesce(max(turn), 0) + 1 FROM bulk_turns WHERE TRUE
         ON CONFLICT (merchant) DO UPDATE SET turn = excluded.turn",
    )
    .bind(merchant.unwrap_or_default())
    .execute(connection)
    .await?;
    Ok(())
}

/// Its next turn comes after that of every other one.
async fn write(
    connection: &mut SqliteConnection,
    id: Uuid,
    done: &Done,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE bulks SET matched = matched + ?2, changed = changed + ?3, cursor_id = coalesce(?4, cursor_id),
             finished_at = ?5, turn = (SELECT max(turn) + 1 FROM bulks WHERE finished_at IS NULL)
         WHERE id = ?1",
    )
    .bind(id)
    .bind(done.matched)
    .bind(done.changed)
    .bind(done.cursor)
    .bind(done.through.then_some(now.timestamp_micros()))
    .execute(connection)
    .await?;
    Ok(())
}

/// Those it was done to: of a replay all that have no attempt under way.
async fn change(
    connection: &mut SqliteConnection,
    action: BulkAction,
    found: &[Uuid],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Uuid>> {
    let mut changed = Vec::with_capacity(found.len());
    for &id in found {
        let done = match action {
            BulkAction::Cancellation => moves::cancel(connection, id, now).await?,
            BulkAction::Replay => {
                start_over(connection, id, Resend::InReplay, now).await?
                    || move_back(connection, id, Resend::InReplay, now).await?
            }
        };
        if done {
            changed.push(id);
        }
    }
    Ok(changed)
}

async fn insert_audits(
    connection: &mut SqliteConnection,
    bulk: &Bulk,
    changed: &[Uuid],
    next_id: &(dyn Fn() -> Uuid + Send + Sync),
    now: DateTime<Utc>,
) -> StoreResult<()> {
    for id in changed {
        sqlx::query(
            "INSERT INTO audits (id, notification_id, action, actor, reason, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(next_id())
        .bind(id)
        .bind(bulk.action.audited().as_str())
        .bind(&bulk.actor)
        .bind(bulk.audit_reason())
        .bind(now.timestamp_micros())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
