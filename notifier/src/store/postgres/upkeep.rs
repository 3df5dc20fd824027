//! What is done in the background to keep the tables in order.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PostgresStore, days, identities, of_event};
use crate::domain::Day;
use crate::store::{Removed, UpkeepStore};

#[async_trait]
impl UpkeepStore for PostgresStore {
    async fn move_cancelled(&self, limit: u32) -> StoreResult<u64> {
        let moved = sqlx::query(MOVE_CANCELLED).bind(i64::from(limit)).execute(&self.pool).await?;
        Ok(moved.rows_affected())
    }

    async fn prepare(&self, wanted: &[Day]) -> StoreResult<u64> {
        let existing = self.existing_days().await?;
        let mut made = 0;
        for day in wanted.iter().filter(|day| !existing.contains(day)) {
            made += u64::from(days::make(&self.pool, *day).await?);
        }
        Ok(made)
    }

    async fn remove(&self, before: DateTime<Utc>, limit: u32) -> StoreResult<Removed> {
        let mut removed = Removed::default();
        for day in self.existing_days().await? {
            if day.is_settled_at(before) {
                let dropped = days::drop(&self.pool, day, before).await?;
                removed.days += u64::from(dropped);
                removed.kept_days += u64::from(!dropped);
            }
        }
        remove_without_day(&self.pool, before, limit, &mut removed).await?;
        let floor: Uuid = sqlx::query_scalar("SELECT floor FROM retention").fetch_one(&self.pool).await?;
        removed.audits += remove_audits(&self.pool, floor, limit).await?;
        removed.identities += identities::remove(&self.pool, floor, limit).await?;
        removed.bulks += remove_bulks(&self.pool, before, limit).await?;
        Ok(removed)
    }
}

impl PostgresStore {
    async fn existing_days(&self) -> StoreResult<Vec<Day>> {
        let mut connection = self.pool.acquire().await?;
        let days = days::existing(&mut connection).await?;
        connection.release();
        Ok(days)
    }
}

/// One index probe per deleted subscription. What somebody else is at is left for the next time.
const MOVE_CANCELLED: &str = "
    WITH found AS (
        SELECT n.id, s.deleted_at FROM subscriptions s CROSS JOIN LATERAL (
            SELECT id FROM waiting WHERE subscription_id = s.id LIMIT $1 FOR UPDATE SKIP LOCKED
        ) n
        WHERE s.deleted_at IS NOT NULL LIMIT $1
    ), ended AS (
        DELETE FROM waiting n USING found WHERE n.id = found.id RETURNING n.*, found.deleted_at
    )
    INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
        updated_at)
    SELECT id, event_key, subscription_id, 'cancelled', attempts, failure_class, created_at, deleted_at
    FROM ended";

/// A batch of what lies in the default partitions, of the oldest day that may be removed.
async fn remove_without_day(
    pool: &PgPool,
    before: DateTime<Utc>,
    limit: u32,
    removed: &mut Removed,
) -> StoreResult<()> {
    let mut from = Uuid::nil();
    loop {
        let mut transaction = days::begin(pool).await?;
        match remove_oldest(&mut transaction, from, before, limit).await {
            Ok(Step::Removed { notifications, events, audits }) => {
                transaction.commit().await?;
                removed.notifications += notifications;
                removed.events += events;
                removed.audits += audits;
                return Ok(());
            }
            Ok(Step::Kept(day)) => {
                transaction.rollback().await?;
                removed.kept_days += 1;
                from = day.plus(1).first_id();
            }
            Ok(Step::None) => {
                transaction.rollback().await?;
                return Ok(());
            }
            Err(error) => return Err(transaction.fail(error).await),
        }
    }
}

/// What came of the oldest day.
enum Step {
    /// There is none that may be removed.
    None,
    /// It stays.
    Kept(Day),
    /// A batch of it, and how many of each.
    Removed { notifications: u64, events: u64, audits: u64 },
}

/// Of the days from `from` on. Its transaction is rolled back unless something was removed.
async fn remove_oldest(
    connection: &mut PgConnection,
    from: Uuid,
    before: DateTime<Utc>,
    limit: u32,
) -> StoreResult<Step> {
    let Some(day) = next_day(connection, from).await?.filter(|day| day.is_settled_at(before)) else {
        return Ok(Step::None);
    };
    if days::stays(connection, day, before).await? {
        return Ok(Step::Kept(day));
    }
    days::raise_floor(connection, day).await?;
    let (notifications, audits) = remove_notifications(connection, day, limit).await?;
    // While there are notifications, their events are needed.
    let events = if notifications == 0 { remove_events(connection, day, limit).await? } else { 0 };
    let is_empty = notifications + events == 0;
    Ok(if is_empty { Step::Kept(day) } else { Step::Removed { notifications, events, audits } })
}

/// The day of the oldest event from `from` on that lies in the default partition.
async fn next_day(connection: &mut PgConnection, from: Uuid) -> StoreResult<Option<Day>> {
    let key: Option<Uuid> =
        sqlx::query_scalar("SELECT key FROM events_default WHERE key >= $1 ORDER BY key LIMIT 1")
            .bind(from)
            .fetch_optional(connection)
            .await?;
    Ok(key.map(Day::of_id))
}

/// Those that are not being resent at this moment, with their attempts; how many, and how many audits
/// of theirs.
async fn remove_notifications(
    connection: &mut PgConnection,
    day: Day,
    limit: u32,
) -> StoreResult<(u64, u64)> {
    let (notifications, audits): (i64, i64) = sqlx::query_as(
        "WITH gone AS (
             DELETE FROM notifications_default WHERE id = ANY (ARRAY(
                 SELECT id FROM notifications_default WHERE id >= $1 AND id <= $2
                 LIMIT $3 FOR UPDATE SKIP LOCKED))
             RETURNING id
         ), attempts_gone AS (
             DELETE FROM attempts_default WHERE notification_id IN (SELECT id FROM gone)
         ), audits_gone AS (
             DELETE FROM audits WHERE notification_id IN (SELECT id FROM gone) RETURNING id
         )
         SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM audits_gone)",
    )
    .bind(day.span().from)
    .bind(day.span().to)
    .bind(i64::from(limit))
    .fetch_one(connection)
    .await?;
    let count = |number| u64::try_from(number).unwrap_or_default();
    Ok((count(notifications), count(audits)))
}

/// Those of which no notification is left.
async fn remove_events(connection: &mut PgConnection, day: Day, limit: u32) -> StoreResult<u64> {
    let removed = sqlx::query(concat!(
        "DELETE FROM events_default WHERE key = ANY (ARRAY(
             SELECT e.key FROM events_default e WHERE e.key >= $1 AND e.key <= $2
               AND NOT EXISTS (SELECT FROM waiting n WHERE ",
        of_event!(),
        ") AND NOT EXISTS (SELECT FROM notifications_default n WHERE ",
        of_event!(),
        ") LIMIT $3))"
    ))
    .bind(day.span().from)
    .bind(day.span().to)
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    sqlx::query(
        "DELETE FROM arrivals WHERE day = $1
           AND NOT EXISTS (SELECT FROM events_default WHERE key >= $2 AND key <= $3)",
    )
    .bind(day.number())
    .bind(day.span().from)
    .bind(day.span().to)
    .execute(connection)
    .await?;
    Ok(removed)
}

/// A batch of those whose notifications are gone. Days that stay are passed over by their audits'
/// notifications, one index probe each.
async fn remove_audits(pool: &PgPool, floor: Uuid, limit: u32) -> StoreResult<u64> {
    let mut from = Uuid::nil();
    loop {
        let next: Option<Uuid> = sqlx::query_scalar(
            "SELECT notification_id FROM audits WHERE notification_id >= $1 AND notification_id < $2
             ORDER BY notification_id LIMIT 1",
        )
        .bind(from)
        .bind(floor)
        .fetch_optional(pool)
        .await?;
        let Some(span) = next.map(|id| Day::of_id(id).span()) else { return Ok(0) };
        let removed = sqlx::query(
            "DELETE FROM audits WHERE id = ANY (ARRAY(
                 SELECT a.id FROM audits a WHERE a.notification_id >= $1 AND a.notification_id <= $2
                   AND NOT EXISTS (SELECT FROM waiting n WHERE n.id = a.notification_id)
                   AND NOT EXISTS (SELECT FROM notifications n
                       WHERE n.id = a.notification_id AND n.id >= $1 AND n.id <= $2)
                 LIMIT $3))",
        )
        .bind(span.from)
        .bind(span.to)
        .bind(i64::from(limit))
        .execute(pool)
        .await?
        .rows_affected();
        if removed > 0 {
            return Ok(removed);
        }
        from = Day::of_id(span.to).plus(1).first_id();
    }
}

async fn remove_bulks(pool: &PgPool, before: DateTime<Utc>, limit: u32) -> StoreResult<u64> {
    let removed = sqlx::query(
        "DELETE FROM bulks WHERE id = ANY (ARRAY(
             SELECT id FROM bulks WHERE finished_at < $1 ORDER BY finished_at LIMIT $2))",
    )
    .bind(before)
    .bind(i64::from(limit))
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}
