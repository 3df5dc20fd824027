//! Bulk resends and cancellations.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PostgresStore, bulk_search};
use crate::domain::bulk::{Bulk, BulkAction};
use crate::domain::{EventPattern, LimitReached, States};
use crate::store::bulk::{BulkRow, Done, LookRow, bulk_columns, classes_text};
use crate::store::{BulkLook, BulkStep, BulkStore, BulksFilter};

type Time = DateTime<Utc>;

#[async_trait]
impl BulkStore for PostgresStore {
    async fn create_bulk(&self, bulk: &Bulk, limit: u32) -> StoreResult<Result<(), LimitReached>> {
        let mut transaction = self.pool.begin().await?;
        lock_turn(&mut transaction, bulk.merchant.as_deref()).await?;
        let inserted = sqlx::query(
            "INSERT INTO bulks (id, action, subscription_id, merchant, states, event_type, failure_classes,
                 created_from, created_to, actor, reason, created_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
             WHERE (SELECT count(*) FROM bulks
                 WHERE coalesce(merchant, '') = coalesce($4, '') AND finished_at IS NULL) < $13",
        )
        .bind(bulk.id)
        .bind(bulk.action.as_str())
        .bind(bulk.filter.subscription.map(|id| id.0))
        .bind(&bulk.merchant)
        .bind(bulk.filter.states.to_string())
        .bind(bulk.filter.event_type.as_ref().map(EventPattern::as_str))
        .bind(classes_text(&bulk.filter))
        .bind(bulk.filter.created_from)
        .bind(bulk.filter.created_to)
        .bind(&bulk.actor)
        .bind(&bulk.reason)
        .bind(bulk.created_at)
        .bind(i64::from(limit))
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Err(LimitReached::BulkActions(limit)));
        }
        transaction.commit().await?;
        Ok(Ok(()))
    }

    async fn bulk(&self, action: BulkAction, id: Uuid, owner: Option<&str>) -> StoreResult<Option<Bulk>> {
        let row: Option<BulkRow<Time>> = sqlx::query_as(concat!(
            "SELECT ",
            bulk_columns!(),
            " FROM bulks WHERE id = $1 AND action = $2 AND ($3::text IS NULL OR merchant = $3)"
        ))
        .bind(id)
        .bind(action.as_str())
        .bind(owner)
        .fetch_optional(&self.pool)
        .await?;
        row.map(BulkRow::bulk).transpose()
    }

    async fn bulks(&self, filter: &BulksFilter, page: Page) -> StoreResult<Vec<Bulk>> {
        let rows: Vec<BulkRow<Time>> = sqlx::query_as(concat!(
            "SELECT ",
            bulk_columns!(),
            " FROM bulks WHERE action = $1 AND ($2::text IS NULL OR merchant = $2)
             AND ($3::uuid IS NULL OR subscription_id = $3) AND ($4::uuid IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5"
        ))
        .bind(filter.action.as_str())
        .bind(&filter.owner)
        .bind(filter.subscription.map(|id| id.0))
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(BulkRow::bulk).collect()
    }

    async fn advance_bulk(
        &self,
        limit: u32,
        next_id: &(dyn Fn() -> Uuid + Send + Sync),
        now: DateTime<Utc>,
    ) -> StoreResult<BulkStep> {
        let mut transaction = self.pool.begin().await?;
        let advanced = advance(&mut transaction, limit, next_id, now).await;
        transaction.conclude(advanced).await
    }

    async fn look_for_bulk(
        &self,
        bulk: &Bulk,
        cursor: Option<Uuid>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> StoreResult<BulkLook> {
        let mut connection = self.pool.acquire().await?;
        let found = bulk_search::find(&mut connection, bulk, cursor, limit, now).await?;
        let rows: Vec<LookRow> = sqlx::query_as(
            "SELECT s.id, s.name, s.merchant, s.state, s.disabled_reason, n.matched
             FROM (SELECT subscription_id, count(*) AS matched
                 FROM (SELECT subscription_id FROM waiting WHERE id = ANY ($1)
                     UNION ALL SELECT subscription_id FROM notifications WHERE id = ANY ($1)) found
                 GROUP BY subscription_id) n
             JOIN subscriptions s ON s.id = n.subscription_id",
        )
        .bind(found.ids)
        .fetch_all(&mut *connection)
        .await?;
        connection.release();
        let found_of = rows.into_iter().map(LookRow::previewed).collect::<StoreResult<_>>()?;
        Ok(BulkLook { found: found_of, cursor: found.cursor })
    }
}

/// A step of the bulk action whose turn it is.
async fn advance(
    connection: &mut PgConnection,
    limit: u32,
    next_id: &(dyn Fn() -> Uuid + Send + Sync),
    now: DateTime<Utc>,
) -> StoreResult<BulkStep> {
    let running: Option<BulkRow<Time>> = sqlx::query_as(concat!(
        "SELECT ",
        bulk_columns!(),
        " FROM bulks WHERE finished_at IS NULL ORDER BY coalesce((
             SELECT t.turn FROM bulk_turns t WHERE t.merchant = coalesce(bulks.merchant, '')), 0), turn, id
         LIMIT 1 FOR UPDATE SKIP LOCKED"
    ))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = running else {
        return Ok(BulkStep { changed: 0, more: false });
    };
    let cursor = row.cursor_id;
    let bulk = row.bulk()?;
    let found = bulk_search::find(connection, &bulk, cursor, limit, now).await?;
    let changed = change(connection, &bulk, &found.ids, now).await?;
    insert_audits(connection, &bulk, &changed, next_id, now).await?;
    let done = Done::of(bulk.action, &found, &changed);
    write(connection, bulk.id, &done, now).await?;
    end_turn(connection, bulk.merchant.as_deref()).await?;
    Ok(BulkStep { changed: changed.len(), more: done.more })
}

/// Makes those that create a bulk action for `merchant` wait for each other, so that each sees what the others
/// have created.
async fn lock_turn(connection: &mut PgConnection, merchant: Option<&str>) -> StoreResult<()> {
    let merchant = merchant.unwrap_or_default();
    sqlx::query("INSERT INTO bulk_turns (merchant, turn) VALUES ($1, 0) ON CONFLICT DO NOTHING")
        .bind(merchant)
        .execute(&mut *connection)
        .await?;
    sqlx::query("SELECT FROM bulk_turns WHERE merchant = $1 FOR UPDATE")
        .bind(merchant)
        .execute(connection)
        .await?;
    Ok(())
}

/// The next turn of `merchant` comes after that of every other one.
async fn end_turn(connection: &mut PgConnection, merchant: Option<&str>) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO bulk_turns (merchant, turn) SELECT $1, coalesce(max(turn), 0) + 1 FROM bulk_turns
         ON CONFLICT (merchant) DO UPDATE SET turn = EXCLUDED.turn",
    )
    .bind(merchant.unwrap_or_default())
    .execute(connection)
    .await?;
    Ok(())
}

/// Its next turn comes after that of every other one.
async fn write(connection: &mut PgConnection, id: Uuid, done: &Done, now: Time) -> StoreResult<()> {
    sqlx::query(
        "UPDATE bulks SET matched = matched + $2, changed = changed + $3, cursor_id = coalesce($4, cursor_id),
             finished_at = $5, turn = (SELECT max(turn) + 1 FROM bulks WHERE finished_at IS NULL)
         WHERE id = $1",
    )
    .bind(id)
    .bind(done.matched)
    .bind(done.changed)
    .bind(done.cursor)
    .bind(done.through.then_some(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Does it to those that are still as it wants them. What someone else holds at this moment is not
/// waited for, since others of these are held here.
async fn change(
    connection: &mut PgConnection,
    bulk: &Bulk,
    found: &[Uuid],
    now: Time,
) -> StoreResult<Vec<Uuid>> {
    let statements: &[&'static str] = match bulk.action {
        BulkAction::Cancellation => &[CANCEL],
        BulkAction::Replay => &[RESEND_WAITING, RESEND_FINISHED],
    };
    let finals = bulk.filter.states.and(States::FINAL);
    let finals: Vec<String> = finals.iter().map(|state| state.as_str().to_owned()).collect();
    let mut changed = Vec::new();
    for &statement in statements {
        let moved: Vec<Uuid> = sqlx::query_scalar(statement)
            .bind(found)
            .bind(now)
            .bind(&finals)
            .fetch_all(&mut *connection)
            .await?;
        changed.extend(moved);
    }
    Ok(changed)
}

/// Whether an attempt is under way or not: its result no longer counts.
const CANCEL: &str = "
    WITH ended AS (
        DELETE FROM waiting WHERE id = ANY (ARRAY(
            SELECT id FROM waiting WHERE id = ANY ($1) AND $3::text[] IS NOT NULL FOR UPDATE SKIP LOCKED))
        RETURNING *
    )
    INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
        updated_at)
    SELECT id, event_key, subscription_id, 'cancelled', attempts, failure_class, created_at, $2 FROM ended
    RETURNING id";

/// What was tried before goes among the retries: a replay of very many must not starve fresh results.
const RESEND_WAITING: &str = "
    UPDATE waiting SET due_at = $2, again = attempts > 0, climb = 0, lease_token = NULL,
        leased_until = NULL, updated_at = $2
    WHERE id = ANY (ARRAY(
        SELECT id FROM waiting
        WHERE id = ANY ($1) AND (leased_until IS NULL OR leased_until <= $2) AND $3::text[] IS NOT NULL
        FOR UPDATE SKIP LOCKED))
    RETURNING id";

const RESEND_FINISHED: &str = "
    WITH back AS (
        DELETE FROM notifications WHERE id = ANY ($1) AND id = ANY (ARRAY(
            SELECT id FROM notifications WHERE id = ANY ($1) AND state = ANY ($3) FOR UPDATE SKIP LOCKED))
        RETURNING *
    )
    INSERT INTO waiting (id, event_key, subscription_id, attempts, again, failure_class, due_at, created_at,
        updated_at)
    SELECT id, event_key, subscription_id, attempts, attempts > 0, failure_class, $2, created_at, $2 FROM back
    RETURNING id";

async fn insert_audits(
    connection: &mut PgConnection,
    bulk: &Bulk,
    changed: &[Uuid],
    next_id: &(dyn Fn() -> Uuid + Send + Sync),
    now: Time,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO audits (id, notification_id, action, actor, reason, at)
         SELECT id, notification_id, $3, $4, $5, $6
         FROM UNNEST($1::uuid[], $2::uuid[]) AS new (id, notification_id)",
    )
    .bind(changed.iter().map(|_| next_id()).collect::<Vec<_>>())
    .bind(changed)
    .bind(bulk.action.audited().as_str())
    .bind(&bulk.actor)
    .bind(bulk.audit_reason())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
