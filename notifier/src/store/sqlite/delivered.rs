//! The results that nearly all attempts have: delivered. A statement for each table, however many they are.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use runtime::database::{StoreResult, hex, list};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::domain::attempt::{AttemptResult, Outcome};
use crate::store::rows::duration_ms;

/// Those of `results` that are recorded here: deliveries that nothing else in the group is about.
pub(super) fn plain(results: &[AttemptResult]) -> Vec<&AttemptResult> {
    let mut times: HashMap<Uuid, usize> = HashMap::new();
    for result in results {
        *times.entry(result.notification.0).or_default() += 1;
    }
    let is_plain = |result: &&AttemptResult| {
        result.attempt.outcome == Outcome::Delivered && times[&result.notification.0] == 1
    };
    results.iter().filter(is_plain).collect()
}

/// Records `delivered`; by notification and token those that counted. What a deletion has cancelled has
/// no lease any more, though its row may be left.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    delivered: &[&AttemptResult],
    now: DateTime<Utc>,
) -> StoreResult<HashSet<(Uuid, Uuid)>> {
    if delivered.is_empty() {
        return Ok(HashSet::new());
    }
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO notifications (id, event_key, subscription_id, state, attempts, created_at, updated_at)
         SELECT w.id, w.event_key, w.subscription_id, 'delivered', r.value ->> 2, w.created_at, ?2
         FROM json_each(?1) r CROSS JOIN waiting w
         WHERE w.id = unhex(r.value ->> 0) AND w.lease_token = unhex(r.value ->> 1) AND EXISTS (
             SELECT 1 FROM subscriptions s WHERE s.id = w.subscription_id AND s.deleted_at IS NULL)
         RETURNING id",
    )
    .bind(list(delivered.iter().map(|result| row(result))))
    .bind(now.timestamp_micros())
    .fetch_all(&mut *connection)
    .await?;
    let ended: HashSet<Uuid> = ended.into_iter().collect();
    let counted = || delivered.iter().filter(|result| ended.contains(&result.notification.0));
    let rows = list(counted().map(|result| row(result)));
    sqlx::query(
        "INSERT INTO attempts (notification_id, number, started_at, duration_ms, outcome, http_status,
             response_excerpt)
         SELECT unhex(value ->> 0), value ->> 2, value ->> 3, value ->> 4, 'delivered', value ->> 5, value ->> 6
         FROM json_each(?1)",
    )
    .bind(&rows)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM waiting WHERE id IN (SELECT unhex(value ->> 0) FROM json_each(?1))")
        .bind(&rows)
        .execute(connection)
        .await?;
    Ok(counted().map(|result| (result.notification.0, result.lease.token())).collect())
}

/// Notification, token, and what is logged of the attempt.
fn row(result: &AttemptResult) -> Value {
    let attempt = &result.attempt;
    json!([
        hex(result.notification.0),
        hex(result.lease.token()),
        attempt.number,
        attempt.started_at.timestamp_micros(),
        duration_ms(attempt),
        attempt.http_status,
        attempt.response_excerpt,
    ])
}
