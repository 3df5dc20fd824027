//! Results of attempts, in groups.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{SqliteStore, audits, bump_version, delivered, health, moves, operator_events};
use crate::domain::attempt::AttemptResult;
use crate::domain::{DisableAfter, OperatorEvent};
use crate::store::health::{log, overdue};
use crate::store::outcome::{Disabling, Written};
use crate::store::rows::duration_ms;
use crate::store::{Recorded, outcome};

pub(super) async fn record(
    store: &SqliteStore,
    results: &[AttemptResult],
    disable_after: DisableAfter,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Recorded>> {
    if results.is_empty() {
        return Ok(Vec::new());
    }
    let mut transaction = store.begin().await?;
    let connection = &mut *transaction;
    let plain = delivered::plain(results);
    let mut held = delivered::record(connection, &plain, now).await?;
    let done: HashSet<Uuid> = plain.iter().map(|result| result.notification.0).collect();
    for result in results.iter().filter(|result| !done.contains(&result.notification.0)) {
        if move_notification(connection, result, now).await? {
            log_attempt(connection, result).await?;
            held.insert((result.notification.0, result.lease.token()));
        }
    }
    let counted: Vec<&AttemptResult> =
        results.iter().filter(|result| outcome::holds(&held, result)).collect();
    let mut told = operator_events::of_exhausted(connection, &counted).await?;
    let changes = health::learn(connection, &counted).await?;
    let overdue = overdue(&changes, &counted, disable_after, now);
    for disabling in outcome::disabling(&counted, overdue) {
        told.extend(disable(connection, &disabling, now).await?);
    }
    operator_events::tell(connection, &told, now).await?;
    transaction.commit().await?;
    log(&changes);
    outcome::log(&told);
    Ok(outcome::answers(&held, results))
}

/// Whether the result's lease still held, so that it moved its notification.
async fn move_notification(
    connection: &mut SqliteConnection,
    result: &AttemptResult,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let written = Written::of(result.verdict, now);
    match written.state {
        Some(state) => {
            let ended = end(connection, result, state, now).await?;
            if ended {
                moves::leave(connection, result.notification.0).await?;
            }
            Ok(ended)
        }
        None => keep(connection, result, &written, now).await,
    }
}

/// What a deletion has cancelled has no lease any more, though its row may be left.
macro_rules! under_its_lease {
    () => {
        " WHERE id = ?1 AND lease_token = ?2 AND EXISTS (
             SELECT 1 FROM subscriptions s WHERE s.id = subscription_id AND s.deleted_at IS NULL)"
    };
}

async fn end(
    connection: &mut SqliteConnection,
    result: &AttemptResult,
    state: &str,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(concat!(
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
             updated_at)
         SELECT id, event_key, subscription_id, ?3, ?4, ?5, created_at, ?6 FROM waiting",
        under_its_lease!()
    ))
    .bind(result.notification.0)
    .bind(result.lease.token())
    .bind(state)
    .bind(i64::from(result.attempt.number))
    .bind(outcome::class(&result.attempt))
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn keep(
    connection: &mut SqliteConnection,
    result: &AttemptResult,
    written: &Written,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let updated = sqlx::query(concat!(
        "UPDATE waiting
         SET due_at = ?3, again = 1, climb = climb + ?4, attempts = ?5, failure_class = ?6,
             lease_token = NULL, leased_until = NULL, updated_at = ?7",
        under_its_lease!()
    ))
    .bind(result.notification.0)
    .bind(result.lease.token())
    .bind(written.due_at.timestamp_micros())
    .bind(written.climbed)
    .bind(i64::from(result.attempt.number))
    .bind(outcome::class(&result.attempt))
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
    .bind(outcome::class(attempt))
    .bind(attempt.http_status.map(i64::from))
    .bind(&attempt.error)
    .bind(&attempt.response_excerpt)
    .execute(connection)
    .await?;
    Ok(())
}

async fn disable(
    connection: &mut SqliteConnection,
    disabling: &Disabling<'_>,
    now: DateTime<Utc>,
) -> StoreResult<Option<OperatorEvent>> {
    bump_version(connection).await?;
    let disabled: Option<(String, Option<String>)> = sqlx::query_as(
        "UPDATE subscriptions SET state = 'disabled', disabled_reason = ?2, updated_at = ?3
         WHERE id = ?1 AND state <> 'disabled' AND updated_at <= ?4
         RETURNING name, merchant",
    )
    .bind(disabling.subscription.0)
    .bind(&disabling.reason)
    .bind(now.timestamp_micros())
    .bind(disabling.seen.timestamp_micros())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(disabled) = disabled else { return Ok(None) };
    let (told, audit) = disabling.told_and_kept(disabled, now);
    audits::insert(connection, disabling.subscription, &audit).await?;
    Ok(Some(told))
}
