//! Notifications on their way between the two tables.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

/// Gives up a waiting notification. Whether it was there.
pub(super) async fn cancel(
    connection: &mut SqliteConnection,
    id: Uuid,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
             updated_at)
         SELECT id, event_key, subscription_id, 'cancelled', attempts, failure_class, created_at, ?2
         FROM waiting WHERE id = ?1",
    )
    .bind(id)
    .bind(at.timestamp_micros())
    .execute(&mut *connection)
    .await?;
    leave(connection, id).await?;
    Ok(inserted.rows_affected() == 1)
}

/// Takes a notification out of `waiting`.
pub(super) async fn leave(connection: &mut SqliteConnection, id: Uuid) -> StoreResult<()> {
    sqlx::query("DELETE FROM waiting WHERE id = ?1").bind(id).execute(connection).await?;
    Ok(())
}

/// Makes a final notification wait again, due at once and at the foot of its ladder. Whether it was
/// final.
pub(super) async fn move_back(
    connection: &mut SqliteConnection,
    id: Uuid,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(
        "INSERT INTO waiting (id, event_key, subscription_id, attempts, failure_class, due_at, created_at,
             updated_at)
         SELECT id, event_key, subscription_id, attempts, failure_class, ?2, created_at, ?2
         FROM notifications WHERE id = ?1",
    )
    .bind(id)
    .bind(at.timestamp_micros())
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM notifications WHERE id = ?1").bind(id).execute(connection).await?;
    Ok(inserted.rows_affected() == 1)
}

/// Makes a waiting notification without a live lease due at once and puts it at the foot of its
/// ladder. Whether there was one.
pub(super) async fn start_over(
    connection: &mut SqliteConnection,
    id: Uuid,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let updated = sqlx::query(
        "UPDATE waiting SET due_at = ?2, climb = 0, lease_token = NULL, leased_until = NULL, updated_at = ?2
         WHERE id = ?1 AND (leased_until IS NULL OR leased_until <= ?2)",
    )
    .bind(id)
    .bind(at.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() == 1)
}
