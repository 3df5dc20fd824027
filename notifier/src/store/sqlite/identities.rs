//! Which events are known, by their sources and ids.

use std::collections::HashMap;

use runtime::database::{StoreResult, hex, hex_list, list};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::domain::NewEvent;
use crate::store::recognition::{Names, Recognition};
use crate::store::rows::EventRow;

/// The keys of the events of a batch whose keys their ids do not say, as far as they are known.
pub(super) async fn names(
    connection: &mut SqliteConnection,
    recognition: &Recognition<'_>,
) -> StoreResult<Names> {
    let (sources, ids) = recognition.unnamed();
    if ids.is_empty() {
        return Ok(Names::new());
    }
    let wanted = sources.iter().zip(&ids).map(|(source, id)| json!([source, id]));
    let names: Vec<(String, String, Uuid)> = sqlx::query_as(
        "SELECT i.source, i.id, i.key FROM json_each(?1) AS wanted
         CROSS JOIN identities i ON i.source = wanted.value ->> 0 AND i.id = wanted.value ->> 1",
    )
    .bind(list(wanted))
    .fetch_all(connection)
    .await?;
    Ok(names.into_iter().map(|(source, id, key)| ((source, id), key)).collect())
}

/// Keeps the keys of `events` by their sources and ids.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    events: impl Iterator<Item = &NewEvent>,
) -> StoreResult<()> {
    let rows: Vec<_> = events.map(|event| json!([event.source, event.id, hex(event.key.0)])).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO identities (source, id, key)
         SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?1)",
    )
    .bind(list(rows))
    .execute(connection)
    .await?;
    Ok(())
}

/// The events that lie under `keys`.
pub(super) async fn stored(
    connection: &mut SqliteConnection,
    keys: &[Uuid],
) -> StoreResult<HashMap<Uuid, NewEvent>> {
    let rows: Vec<EventRow<i64>> =
        sqlx::query_as("SELECT * FROM events WHERE key IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(hex_list(keys.iter().copied()))
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(EventRow::keyed_event).collect()
}

/// Removes those of the events that were removed under `keys`; how many. It looks at no other of the day,
/// since a day is removed in many small steps.
pub(super) async fn remove(connection: &mut SqliteConnection, keys: &[Uuid]) -> StoreResult<u64> {
    let removed = sqlx::query(REMOVE).bind(hex_list(keys.iter().copied())).execute(connection).await?;
    Ok(removed.rows_affected())
}

const REMOVE: &str = "DELETE FROM identities WHERE key IN (SELECT unhex(value) FROM json_each(?1))";

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row};

    use super::*;

    #[tokio::test]
    async fn removing_events_looks_at_no_identity_but_theirs() {
        let (database, _folder) = runtime::testing::temporary_sqlite().await;
        crate::store::sqlite::SqliteStore::migrate(database.clone()).await.expect("a schema");
        let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {REMOVE}")));
        let plan = explained.bind("[]").fetch_all(&database.reader).await.expect("a plan");
        let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        let of_table: Vec<_> = steps.iter().filter(|step| step.contains("identities")).collect();
        assert_eq!(of_table, ["SEARCH identities USING COVERING INDEX identities_key (key=?)"], "{steps:?}");
    }
}
