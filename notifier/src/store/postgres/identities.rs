//! Which events are known, by their sources and ids.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::domain::{Day, NewEvent};
use crate::store::recognition::{Names, Recognition};
use crate::store::rows::EventRow;

/// The keys of the events of a batch whose keys their ids do not say, as far as they are known.
pub(super) async fn names(
    database: impl PgExecutor<'_>,
    recognition: &Recognition<'_>,
) -> StoreResult<Names> {
    let (sources, ids) = recognition.unnamed();
    if ids.is_empty() {
        return Ok(Names::new());
    }
    let names: Vec<(String, String, Uuid)> = sqlx::query_as(
        "SELECT source, id, found.key FROM UNNEST($1::text[], $2::text[]) AS wanted (source, id)
         CROSS JOIN LATERAL (
             SELECT i.key FROM identities i WHERE i.source = wanted.source AND i.id = wanted.id OFFSET 0
         ) found",
    )
    .bind(sources)
    .bind(ids)
    .fetch_all(database)
    .await?;
    Ok(names.into_iter().map(|(source, id, key)| ((source, id), key)).collect())
}

/// The events that lie under `keys`. Planned each time, so that it looks at the days of these keys alone.
pub(super) async fn stored(
    database: impl PgExecutor<'_>,
    keys: &[Uuid],
) -> StoreResult<HashMap<Uuid, NewEvent>> {
    let rows: Vec<EventRow<DateTime<Utc>>> =
        sqlx::query_as("SELECT * FROM events WHERE key = ANY ($1)").bind(keys).fetch_all(database).await?;
    rows.into_iter().map(EventRow::keyed_event).collect()
}

/// Removes a batch of the identities below `floor` whose events are gone. Days that stay are passed over by
/// their identities' keys, one index probe each.
pub(super) async fn remove(pool: &PgPool, floor: Uuid, limit: u32) -> StoreResult<u64> {
    let mut from = Uuid::nil();
    loop {
        let next: Option<Uuid> = sqlx::query_scalar(
            "SELECT key FROM identities WHERE key >= $1 AND key < $2 ORDER BY key LIMIT 1",
        )
        .bind(from)
        .bind(floor)
        .fetch_optional(pool)
        .await?;
        let Some(span) = next.map(|key| Day::of_id(key).span()) else { return Ok(0) };
        let removed = sqlx::query(
            "DELETE FROM identities WHERE key = ANY (ARRAY(
                 SELECT i.key FROM identities i WHERE i.key >= $1 AND i.key <= $2
                   AND NOT EXISTS (SELECT FROM events e WHERE e.key = i.key AND e.key >= $1 AND e.key <= $2)
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
