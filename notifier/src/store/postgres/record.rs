//! Results of attempts, in groups.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{audits, bump_version, delivered, health, operator_events, place_under_lease};
use crate::domain::attempt::{AttemptResult, Verdict};
use crate::domain::{DisableAfter, OperatorEvent, SubscriptionId};
use crate::store::health::{Change, log, overdue};
use crate::store::outcome::{Disabling, Written};
use crate::store::rows::duration_ms;
use crate::store::{Recorded, outcome};

/// Moves the notifications whose lease still holds, and logs those attempts: the plain ones in a
/// statement of their own, and what that leaves in a transaction.
pub(super) async fn record(
    pool: &PgPool,
    results: &[AttemptResult],
    disable_after: DisableAfter,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Recorded>> {
    let mut held = delivered::record(pool, &delivered::plain(results), now).await?;
    let rest: Vec<&AttemptResult> = results.iter().filter(|result| !outcome::holds(&held, result)).collect();
    if !rest.is_empty() {
        held.extend(record_rest(pool, &rest, disable_after, now).await?);
    }
    Ok(outcome::answers(&held, results))
}

/// By notification and token those whose lease held.
async fn record_rest(
    pool: &PgPool,
    results: &[&AttemptResult],
    disable_after: DisableAfter,
    now: DateTime<Utc>,
) -> StoreResult<HashSet<(Uuid, Uuid)>> {
    let mut transaction = pool.begin().await?;
    let written = write_rest(&mut transaction, results, disable_after, now).await;
    let Rest { held, changes, told } = transaction.conclude(written).await?;
    log(&changes);
    outcome::log(&told);
    Ok(held)
}

/// What was written, and what is logged of it.
struct Rest {
    held: HashSet<(Uuid, Uuid)>,
    changes: BTreeMap<SubscriptionId, Change>,
    told: Vec<OperatorEvent>,
}

async fn write_rest(
    connection: &mut PgConnection,
    results: &[&AttemptResult],
    disable_after: DisableAfter,
    now: DateTime<Utc>,
) -> StoreResult<Rest> {
    let gone = results.iter().any(|result| result.verdict == Verdict::Gone);
    let disables = gone || health::may_disable(connection, results, disable_after, now).await?;
    if disables {
        bump_version(connection).await?;
    }
    let moved = move_and_log(connection, results, now).await?;
    let held: HashSet<(Uuid, Uuid)> = moved.iter().map(|moved| (moved.id, moved.token)).collect();
    let counted: Vec<&AttemptResult> =
        results.iter().copied().filter(|result| outcome::holds(&held, result)).collect();
    let ailing = moved.iter().filter(|moved| moved.ailing);
    let ailing: BTreeSet<_> = ailing.map(|moved| SubscriptionId(moved.subscription_id)).collect();
    let changes = health::learn(connection, &counted, ailing, now).await?;
    let mut told = operator_events::of_exhausted(connection, &counted).await?;
    if disables {
        let overdue = overdue(&changes, &counted, disable_after, now);
        told.extend(disable(connection, &outcome::disabling(&counted, overdue), now).await?);
    }
    operator_events::tell(connection, &told, now).await?;
    Ok(Rest { held, changes, told })
}

/// The results as they are written: rows are locked in one order by all processes, whatever order the
/// results came in.
pub(super) fn in_lock_order<'a>(results: &[&'a AttemptResult]) -> Vec<&'a AttemptResult> {
    let mut ordered = results.to_vec();
    ordered.sort_by_key(|result| result.notification.0);
    ordered
}

/// One statement, so one look at the tables: it can't wait for another process's results while that
/// waits for these. What a deletion has cancelled has no lease any more, though its row may be left.
const RECORD: &str = concat!(
    "
    WITH found AS MATERIALIZED (
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[],
            $6::bigint[], $7::timestamptz[], $8::bigint[], $9::text[], $10::text[], $11::bigint[],
            $12::text[], $13::text[], $15::uuid[])
        AS r (id, token, state, due_at, climbed, number, started_at, duration_ms, outcome, failure_class,
            http_status, error, response_excerpt, subscription)
        ",
    place_under_lease!(),
    "
    ), ended AS (
        DELETE FROM waiting n USING found r
        WHERE n.ctid = r.place AND n.lease_token = r.token AND r.state IS NOT NULL
          AND (SELECT deleted_at IS NULL FROM subscriptions WHERE id = n.subscription_id)
        RETURNING r.*, n.event_key, n.subscription_id, n.created_at
    ), kept AS (
        UPDATE waiting n
        SET due_at = r.due_at, again = true, climb = n.climb + r.climbed, attempts = r.number,
            lease_token = NULL, leased_until = NULL, failure_class = r.failure_class, updated_at = $14
        FROM found r
        WHERE n.ctid = r.place AND n.lease_token = r.token AND r.state IS NULL
          AND (SELECT deleted_at IS NULL FROM subscriptions WHERE id = n.subscription_id)
        RETURNING r.*, n.subscription_id
    ), finished AS (
        INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
            updated_at)
        SELECT id, event_key, subscription_id, state, number, failure_class, created_at, $14 FROM ended
    ), moved AS (
        SELECT id, token, subscription_id, number, started_at, duration_ms, outcome, failure_class,
            http_status, error, response_excerpt FROM ended
        UNION ALL
        SELECT id, token, subscription_id, number, started_at, duration_ms, outcome, failure_class,
            http_status, error, response_excerpt FROM kept
    ), logged AS (
        INSERT INTO attempts (notification_id, number, started_at, duration_ms, outcome, failure_class,
            http_status, error, response_excerpt)
        SELECT id, number, started_at, duration_ms, outcome, failure_class, http_status, error,
            response_excerpt FROM moved
    )
    SELECT id, token, subscription_id, (
        SELECT count(*) > 0 FROM subscription_health WHERE subscription_id = moved.subscription_id
    ) AS ailing FROM moved"
);

/// A notification that was moved.
#[derive(sqlx::FromRow)]
struct Moved {
    id: Uuid,
    /// The token it was moved under.
    token: Uuid,
    subscription_id: Uuid,
    /// Whether something was held against its endpoint.
    ailing: bool,
}

async fn move_and_log(
    connection: &mut PgConnection,
    results: &[&AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Moved>> {
    let results = in_lock_order(results);
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
        .bind(results.iter().map(|result| result.subscription.0).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(moved)
}

async fn disable(
    connection: &mut PgConnection,
    disabling: &[Disabling<'_>],
    now: DateTime<Utc>,
) -> StoreResult<Vec<OperatorEvent>> {
    if disabling.is_empty() {
        return Ok(Vec::new());
    }
    let disabled: Vec<(Uuid, String, Option<String>)> = sqlx::query_as(
        "UPDATE subscriptions SET state = 'disabled', disabled_reason = reason, updated_at = $4
         FROM UNNEST($1::uuid[], $2::timestamptz[], $3::text[]) AS disabling (subscription_id, seen, reason)
         WHERE id = subscription_id AND state <> 'disabled' AND updated_at <= seen
         RETURNING id, name, merchant",
    )
    .bind(disabling.iter().map(|one| one.subscription.0).collect::<Vec<_>>())
    .bind(disabling.iter().map(|one| one.seen).collect::<Vec<_>>())
    .bind(disabling.iter().map(|one| one.reason.clone()).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(&mut *connection)
    .await?;
    let mut all_told = Vec::with_capacity(disabled.len());
    for (id, name, merchant) in disabled {
        for one in disabling.iter().filter(|one| one.subscription.0 == id) {
            let (told, audit) = one.told_and_kept((name.clone(), merchant.clone()), now);
            audits::insert(connection, one.subscription, &audit).await?;
            all_told.push(told);
        }
    }
    Ok(all_told)
}
