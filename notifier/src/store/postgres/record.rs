//! Results of attempts, in groups.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{bump_version, operator_events};
use crate::domain::OperatorEvent;
use crate::domain::attempt::{AttemptResult, Verdict};
use crate::store::outcome::{GONE_REASON, Written};
use crate::store::rows::duration_ms;
use crate::store::{Recorded, outcome};

/// Moves the notifications whose lease still holds, and logs those attempts.
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
    let moved = move_and_log(&mut transaction, results, now).await?;
    let held: HashSet<(Uuid, Uuid)> = moved.into_iter().collect();
    let counted: Vec<&AttemptResult> =
        results.iter().filter(|result| outcome::holds(&held, result)).collect();
    let mut told = disable_gone(&mut transaction, &counted, now).await?;
    told.extend(operator_events::of_exhausted(&mut transaction, &counted).await?);
    operator_events::tell(&mut transaction, &told, now).await?;
    transaction.commit().await?;
    Ok(outcome::answers(&held, results))
}

/// One statement, so one look at the tables: it can't wait for another process's results while that
/// waits for these. What a deletion has cancelled has no lease any more, though its row may be left.
const RECORD: &str = "
    WITH result AS MATERIALIZED (
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[],
            $6::bigint[], $7::timestamptz[], $8::bigint[], $9::text[], $10::text[], $11::bigint[],
            $12::text[], $13::text[])
        AS r (id, token, state, due_at, climbed, number, started_at, duration_ms, outcome, failure_class,
            http_status, error, response_excerpt)
    ), ended AS (
        DELETE FROM waiting n USING result r, subscriptions s
        WHERE n.id = r.id AND n.lease_token = r.token AND r.state IS NOT NULL
          AND s.id = n.subscription_id AND s.deleted_at IS NULL
        RETURNING n.id, r.token, n.event_key, n.subscription_id, r.state, r.number, r.failure_class,
            n.created_at
    ), kept AS (
        UPDATE waiting n
        SET due_at = r.due_at, again = true, climb = n.climb + r.climbed, attempts = r.number,
            lease_token = NULL, leased_until = NULL, failure_class = r.failure_class, updated_at = $14
        FROM result r, subscriptions s
        WHERE n.id = r.id AND n.lease_token = r.token AND r.state IS NULL
          AND s.id = n.subscription_id AND s.deleted_at IS NULL
        RETURNING n.id, r.token
    ), finished AS (
        INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
            updated_at)
        SELECT id, event_key, subscription_id, state, number, failure_class, created_at, $14 FROM ended
    ), moved AS (
        SELECT id, token FROM ended UNION ALL SELECT id, token FROM kept
    ), logged AS (
        INSERT INTO attempts (notification_id, number, started_at, duration_ms, outcome, failure_class,
            http_status, error, response_excerpt)
        SELECT id, number, started_at, duration_ms, outcome, failure_class, http_status, error,
            response_excerpt
        FROM result JOIN moved USING (id, token)
    )
    SELECT id, token FROM moved";

/// The notifications that were moved, each with the token it was moved under.
async fn move_and_log(
    connection: &mut PgConnection,
    results: &[AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<Vec<(Uuid, Uuid)>> {
    let written: Vec<Written> = results.iter().map(|result| Written::of(result.verdict, now)).collect();
    let attempts = || results.iter().map(|result| &result.attempt);
    let classes = attempts().map(|attempt| outcome::class(attempt).map(str::to_owned));
    let excerpts = attempts().map(|attempt| attempt.response_excerpt.clone());
    let moved = sqlx::query_as(RECORD)
        .bind(results.iter().map(|result| result.notification.0).collect::<Vec<_>>())
        .bind(results.iter().map(|result| result.lease.token()).collect::<Vec<_>>())
        .bind(written.iter().map(|w| w.state.map(str::to_owned)).collect::<Vec<_>>())
        .bind(written.iter().map(|w| w.due_at).collect::<Vec<_>>())
        .bind(written.iter().map(|w| w.climbed).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| i64::from(attempt.number)).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.started_at).collect::<Vec<_>>())
        .bind(attempts().map(duration_ms).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.outcome.as_str().to_owned()).collect::<Vec<_>>())
        .bind(classes.collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.http_status.map(i64::from)).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.error.clone()).collect::<Vec<_>>())
        .bind(excerpts.collect::<Vec<_>>())
        .bind(now)
        .fetch_all(connection)
        .await?;
    Ok(moved)
}

async fn disable_gone(
    connection: &mut PgConnection,
    counted: &[&AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<Vec<OperatorEvent>> {
    let (gone, seen): (Vec<Uuid>, Vec<DateTime<Utc>>) =
        outcome::gone(counted).map(|(id, seen)| (id.0, seen)).unzip();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let disabled: Vec<(Uuid, String, Option<String>)> = sqlx::query_as(
        "UPDATE subscriptions SET state = 'disabled', disabled_reason = $2, updated_at = $3
         FROM UNNEST($1::uuid[], $4::timestamptz[]) AS gone (subscription_id, seen)
         WHERE id = subscription_id AND state <> 'disabled' AND updated_at <= seen
         RETURNING id, name, merchant",
    )
    .bind(gone)
    .bind(GONE_REASON)
    .bind(now)
    .bind(seen)
    .fetch_all(connection)
    .await?;
    Ok(disabled.into_iter().map(outcome::disabled_by_410).collect())
}
