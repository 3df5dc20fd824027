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

/// For whom a notification is made due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resend {
    /// A person who asks for this one: it goes among the first attempts.
    Alone,
    /// A replay, which may be of very many and must not starve fresh results: what was tried before
    /// goes among the retries.
    InReplay,
}

/// Makes a final notification wait again, due at once and at the foot of its ladder. Whether it was
/// final.
pub(super) async fn move_back(
    connection: &mut SqliteConnection,
    id: Uuid,
    resend: Resend,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(
        "INSERT INTO waiting (id, event_key, subscription_id, attempts, again, failure_class, due_at,
             created_at, updated_at)
         SELECT id, event_key, subscription_id, attempts, ?3 AND attempts > 0, failure_class, ?2,
             created_at, ?2
         FROM notifications WHERE id = ?1",
    )
    .bind(id)
    .bind(at.timestamp_micros())
    .bind(resend == Resend::InReplay)
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
    resend: Resend,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let updated = sqlx::query(
        "UPDATE waiting
         SET due_at = ?2, again = ?3 AND attempts > 0, climb = 0, lease_token = NULL, leased_until = NULL,
             updated_at = ?2
         WHERE id = ?1 AND (leased_until IS NULL OR leased_until <= ?2)",
    )
    .bind(id)
    .bind(at.timestamp_micros())
    .bind(resend == Resend::InReplay)
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() == 1)
}
