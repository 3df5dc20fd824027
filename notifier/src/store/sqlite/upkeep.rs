//! What is done in the background to keep the tables in order.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{SqliteStore, identities, moves};
use crate::domain::{Day, Span};
use crate::store::rows::readable;
use crate::store::{Removed, UpkeepStore};

#[async_trait]
impl UpkeepStore for SqliteStore {
    async fn move_cancelled(&self, limit: u32) -> StoreResult<u64> {
        let mut transaction = self.begin().await?;
        let found: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT n.id, s.deleted_at FROM subscriptions s CROSS JOIN waiting n ON n.subscription_id = s.id
             WHERE s.deleted_at IS NOT NULL LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        for (id, deleted_at) in &found {
            let at =
                readable(DateTime::from_timestamp_micros(*deleted_at), "subscription of notification", id)?;
            moves::cancel(&mut transaction, *id, at).await?;
        }
        transaction.commit().await?;
        Ok(found.len() as u64)
    }

    /// Days have no rooms of their own here.
    async fn prepare(&self, _: &[Day]) -> StoreResult<u64> {
        Ok(0)
    }

    async fn remove(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<Removed> {
        let mut transaction = self.begin().await?;
        let mut removed = Removed::default();
        let mut from = Uuid::nil();
        while let Some(day) = next_day(&mut transaction, from).await?.filter(|day| day.is_settled_at(before))
        {
            from = day.plus(1).first_id();
            if stays(&mut transaction, day, before).await? {
                removed.kept_days += 1;
            } else {
                remove_day(&mut transaction, day, limit, &mut removed).await?;
                break;
            }
        }
        removed.bulks = remove_bulks(&mut transaction, before, limit).await?;
        transaction.commit().await?;
        Ok(removed)
    }
}

/// The day of the oldest event from `from` on.
async fn next_day(connection: &mut SqliteConnection, from: Uuid) -> StoreResult<Option<Day>> {
    let key: Option<Uuid> = sqlx::query_scalar("SELECT key FROM events WHERE key >= ?1 ORDER BY key LIMIT 1")
        .bind(from)
        .fetch_optional(connection)
        .await?;
    Ok(key.map(Day::of_id))
}

/// Whether a day must stay whole.
async fn stays(connection: &mut SqliteConnection, day: Day, before: DateTime<Utc>) -> StoreResult<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM waiting WHERE id >= ?1 AND id <= ?2)
             OR EXISTS (SELECT 1 FROM arrivals WHERE day = ?3 AND last_at > ?4)",
    )
    .bind(day.span().from)
    .bind(day.span().to)
    .bind(day.number())
    .bind(before.timestamp_micros())
    .fetch_one(connection)
    .await?)
}

/// A batch of a day: its notifications with all that is theirs, and when none is left, its events.
async fn remove_day(
    connection: &mut SqliteConnection,
    day: Day,
    limit: u32,
    removed: &mut Removed,
) -> StoreResult<()> {
    sqlx::query("UPDATE retention SET floor = max(floor, ?1)")
        .bind(day.plus(1).first_id())
        .execute(&mut *connection)
        .await?;
    let Span { from, to } = day.span();
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM notifications WHERE id >= ?1 AND id <= ?2 LIMIT ?3")
            .bind(from)
            .bind(to)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
    for id in &ids {
        removed.audits += remove_notification(connection, *id).await?;
    }
    removed.notifications += ids.len() as u64;
    if !ids.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = sqlx::query_scalar(
        "DELETE FROM events WHERE key IN (SELECT key FROM events WHERE key >= ?1 AND key <= ?2 LIMIT ?3)
         RETURNING key",
    )
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let events = keys.len() as u64;
    removed.events += events;
    removed.identities += identities::remove(connection, &keys).await?;
    if events < u64::from(limit) {
        sqlx::query("DELETE FROM arrivals WHERE day = ?1").bind(day.number()).execute(connection).await?;
    }
    Ok(())
}

/// With its attempts and audits; how many audits.
async fn remove_notification(connection: &mut SqliteConnection, id: Uuid) -> StoreResult<u64> {
    for statement in
        ["DELETE FROM attempts WHERE notification_id = ?1", "DELETE FROM notifications WHERE id = ?1"]
    {
        sqlx::query(statement).bind(id).execute(&mut *connection).await?;
    }
    let audits = sqlx::query("DELETE FROM audits WHERE notification_id = ?1");
    Ok(audits.bind(id).execute(connection).await?.rows_affected())
}

async fn remove_bulks(
    connection: &mut SqliteConnection,
    before: DateTime<Utc>,
    limit: u32,
) -> StoreResult<u64> {
    let removed = sqlx::query(
        "DELETE FROM bulks WHERE id IN (
             SELECT id FROM bulks WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2)",
    )
    .bind(before.timestamp_micros())
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}
