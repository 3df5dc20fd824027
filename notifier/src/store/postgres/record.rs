//! Results of attempts, in groups.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::bump_version;
use crate::domain::attempt::{AttemptResult, FailureClass, Verdict};
use crate::store::outcome::{GONE_REASON, Written};
use crate::store::rows::duration_ms;
use crate::store::{Recorded, outcome};

/// One statement moves the notifications whose lease still holds, one logs those attempts.
pub(super) async fn record(
    pool: &PgPool,
    results: &[AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Recorded>> {
    if results.is_empty() {
        return Ok(Vec::new());
    }
    let mut transaction = pool.begin().await?;
    if results.iter().any(|result| result.verdict == Verdict::Gone) {
        bump_version(&mut transaction).await?;
    }
    let moved = move_notifications(&mut transaction, results, now).await?;
    let held: HashSet<(Uuid, Uuid)> = moved.into_iter().collect();
    let counted: Vec<&AttemptResult> =
        results.iter().filter(|result| outcome::holds(&held, result)).collect();
    log_attempts(&mut transaction, &counted).await?;
    disable_gone(&mut transaction, &counted, now).await?;
    transaction.commit().await?;
    Ok(outcome::answers(&held, results))
}

/// The notifications that were moved, each with the token it was moved under.
async fn move_notifications(
    connection: &mut PgConnection,
    results: &[AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<Vec<(Uuid, Uuid)>> {
    let written: Vec<Written> = results.iter().map(|result| Written::of(result.verdict, now)).collect();
    let moved = sqlx::query_as(
        "UPDATE notifications n
         SET state = r.state, due_at = r.due_at, climb = n.climb + r.climbed, attempts = r.number,
             lease_token = NULL, updated_at = $7
         FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::bigint[])
             AS r (id, token, number, state, due_at, climbed)
         WHERE n.id = r.id AND n.lease_token = r.token AND n.state = 'pending'
         RETURNING n.id, r.token",
    )
    .bind(results.iter().map(|result| result.notification.0).collect::<Vec<_>>())
    .bind(results.iter().map(|result| result.lease.token()).collect::<Vec<_>>())
    .bind(results.iter().map(|result| i64::from(result.attempt.number)).collect::<Vec<_>>())
    .bind(written.iter().map(|w| w.state.to_owned()).collect::<Vec<_>>())
    .bind(written.iter().map(|w| w.due_at).collect::<Vec<_>>())
    .bind(written.iter().map(|w| w.climbed).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(moved)
}

async fn log_attempts(connection: &mut PgConnection, counted: &[&AttemptResult]) -> StoreResult<()> {
    if counted.is_empty() {
        return Ok(());
    }
    let attempts = || counted.iter().map(|result| &result.attempt);
    let classes: Vec<Option<String>> = attempts()
        .map(|attempt| attempt.outcome.failure_class().map(FailureClass::as_str).map(str::to_owned))
        .collect();
    let excerpts: Vec<Option<String>> = attempts().map(|attempt| attempt.response_excerpt.clone()).collect();
    sqlx::query(
        "INSERT INTO attempts (notification_id, number, started_at, duration_ms, outcome, failure_class,
             http_status, error, response_excerpt)
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[], $4::bigint[], $5::text[],
             $6::text[], $7::bigint[], $8::text[], $9::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(counted.iter().map(|result| result.notification.0).collect::<Vec<_>>())
    .bind(attempts().map(|attempt| i64::from(attempt.number)).collect::<Vec<_>>())
    .bind(attempts().map(|attempt| attempt.started_at).collect::<Vec<_>>())
    .bind(attempts().map(duration_ms).collect::<Vec<_>>())
    .bind(attempts().map(|attempt| attempt.outcome.as_str().to_owned()).collect::<Vec<_>>())
    .bind(classes)
    .bind(attempts().map(|attempt| attempt.http_status.map(i64::from)).collect::<Vec<_>>())
    .bind(attempts().map(|attempt| attempt.error.clone()).collect::<Vec<_>>())
    .bind(excerpts)
    .execute(connection)
    .await?;
    Ok(())
}

async fn disable_gone(
    connection: &mut PgConnection,
    counted: &[&AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let (gone, seen): (Vec<Uuid>, Vec<DateTime<Utc>>) =
        outcome::gone(counted).map(|(id, seen)| (id.0, seen)).unzip();
    if gone.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE subscriptions SET state = 'disabled', disabled_reason = $2, updated_at = $3
         FROM UNNEST($1::uuid[], $4::timestamptz[]) AS gone (subscription_id, seen)
         WHERE id = subscription_id AND state <> 'disabled' AND updated_at <= seen",
    )
    .bind(gone)
    .bind(GONE_REASON)
    .bind(now)
    .bind(seen)
    .execute(connection)
    .await?;
    Ok(())
}
