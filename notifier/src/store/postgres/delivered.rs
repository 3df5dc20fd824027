//! The results that nearly all attempts have: delivered, to an endpoint that nothing is held against.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use uuid::Uuid;

use super::place_under_lease;
use super::record::in_lock_order;
use crate::domain::attempt::{AttemptResult, Outcome};
use crate::store::health;
use crate::store::rows::duration_ms;

/// What the statement for all results does for these, in one statement that is a transaction by itself.
/// Those of an endpoint that something is held against stay, for its health changes with them.
const DELIVERED: &str = concat!(
    "
    WITH found AS MATERIALIZED (
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::bigint[],
            $6::bigint[], $7::text[], $9::uuid[])
        AS r (id, token, number, started_at, duration_ms, http_status, response_excerpt, subscription)
        ",
    place_under_lease!(),
    "
    ), ended AS (
        DELETE FROM waiting n USING found r
        WHERE n.ctid = r.place AND n.lease_token = r.token
          AND (SELECT deleted_at IS NULL FROM subscriptions WHERE id = n.subscription_id)
          AND (SELECT count(*) = 0 FROM subscription_health WHERE subscription_id = n.subscription_id)
        RETURNING r.*, n.event_key, n.subscription_id, n.created_at
    ), finished AS (
        INSERT INTO notifications (id, event_key, subscription_id, state, attempts, created_at, updated_at)
        SELECT id, event_key, subscription_id, 'delivered', number, created_at, $8 FROM ended
    ), logged AS (
        INSERT INTO attempts (notification_id, number, started_at, duration_ms, outcome, http_status,
            response_excerpt)
        SELECT id, number, started_at, duration_ms, 'delivered', http_status, response_excerpt FROM ended
    )
    SELECT id, token FROM ended"
);

/// Those of `results` that are recorded here alone: successes of subscriptions none of whose attempts
/// failed beside them.
pub(super) fn plain(results: &[AttemptResult]) -> Vec<&AttemptResult> {
    let failed = health::failed(results);
    let is_plain = |result: &&AttemptResult| {
        result.attempt.outcome == Outcome::Delivered && !failed.contains(&result.subscription)
    };
    results.iter().filter(is_plain).collect()
}

/// Records `delivered`; by notification and token those that counted. What is left may be late, or not
/// so plain: who asks must look at it again.
pub(super) async fn record(
    pool: &PgPool,
    delivered: &[&AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<HashSet<(Uuid, Uuid)>> {
    if delivered.is_empty() {
        return Ok(HashSet::new());
    }
    let delivered = in_lock_order(delivered);
    let attempts = || delivered.iter().map(|result| &result.attempt);
    let excerpts = attempts().map(|attempt| attempt.response_excerpt.as_deref());
    let counted: Vec<(Uuid, Uuid)> = sqlx::query_as(DELIVERED)
        .bind(delivered.iter().map(|result| result.notification.0).collect::<Vec<_>>())
        .bind(delivered.iter().map(|result| result.lease.token()).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| i64::from(attempt.number)).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.started_at).collect::<Vec<_>>())
        .bind(attempts().map(duration_ms).collect::<Vec<_>>())
        .bind(attempts().map(|attempt| attempt.http_status.map(i64::from)).collect::<Vec<_>>())
        .bind(excerpts.collect::<Vec<_>>())
        .bind(now)
        .bind(delivered.iter().map(|result| result.subscription.0).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    Ok(counted.into_iter().collect())
}
