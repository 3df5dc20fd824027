//! Results of attempts, in groups.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::bump_version;
use crate::domain::attempt::{AttemptResult, FailureClass};
use crate::store::outcome::{GONE_REASON, Written};
use crate::store::rows::duration_ms;
use crate::store::{Recorded, outcome};

pub(super) async fn record(
    connection: &mut SqliteConnection,
    results: &[AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Recorded>> {
    let mut held: HashSet<(Uuid, Uuid)> = HashSet::new();
    let mut counted = Vec::new();
    for result in results {
        if move_notification(connection, result, now).await? {
            log_attempt(connection, result).await?;
            held.insert((result.notification.0, result.lease.token()));
            counted.push(result);
        }
    }
    for (subscription, seen) in outcome::gone(&counted) {
        disable(connection, subscription.0, seen, now).await?;
    }
    Ok(outcome::answers(&held, results))
}

/// Whether the result's lease still held, so that it moved its notification.
async fn move_notification(
    connection: &mut SqliteConnection,
    result: &AttemptResult,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let written = Written::of(result.verdict, now);
    let updated = sqlx::query(
        "UPDATE notifications
         SET state = ?3, due_at = ?4, climb = climb + ?5, attempts = ?6, lease_token = NULL, updated_at = ?7
         WHERE id = ?1 AND lease_token = ?2 AND state = 'pending'",
    )
    .bind(result.notification.0)
    .bind(result.lease.token())
    .bind(written.state)
    .bind(written.due_at.timestamp_micros())
    .bind(written.climbed)
    .bind(i64::from(result.attempt.number))
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() == 1)
}

async fn log_attempt(connection: &mut SqliteConnection, result: &AttemptResult) -> StoreResult<()> {
    let attempt = &result.attempt;
    sqlx::query(
        "INSERT INTO attempts (notification_id, number, started_at, duration_ms, outcome, failure_class,
             http_status, error, response_excerpt)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(result.notification.0)
    .bind(i64::from(attempt.number))
    .bind(attempt.started_at.timestamp_micros())
    .bind(duration_ms(attempt))
    .bind(attempt.outcome.as_str())
    .bind(attempt.outcome.failure_class().map(FailureClass::as_str))
    .bind(attempt.http_status.map(i64::from))
    .bind(&attempt.error)
    .bind(&attempt.response_excerpt)
    .execute(connection)
    .await?;
    Ok(())
}

async fn disable(
    connection: &mut SqliteConnection,
    subscription: Uuid,
    seen: DateTime<Utc>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    bump_version(connection).await?;
    sqlx::query(
        "UPDATE subscriptions SET state = 'disabled', disabled_reason = ?2, updated_at = ?3
         WHERE id = ?1 AND state <> 'disabled' AND updated_at <= ?4",
    )
    .bind(subscription)
    .bind(GONE_REASON)
    .bind(now.timestamp_micros())
    .bind(seen.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}
