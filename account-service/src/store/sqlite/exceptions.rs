//! Exceptions in `SQLite`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{Sqlite, StoreResult, hex_list};
use runtime::http::Page;
use serde_json::json;
use sqlx::{QueryBuilder, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, posting};
use crate::domain::{CantResolve, Exception, ExceptionFilter, Incident, Resolve};
use crate::store::Named;
use crate::store::exception_store::{self, ExceptionStore, to_json};

type ExceptionRow = exception_store::ExceptionRow<i64>;

#[async_trait]
impl ExceptionStore for SqliteStore {
    async fn exceptions(&self, filter: ExceptionFilter, page: Page) -> StoreResult<Vec<Exception>> {
        list(&self.database, filter, page).await
    }

    async fn exception(&self, id: Uuid) -> StoreResult<Option<Exception>> {
        show(&self.database, id).await
    }

    async fn note(&self, incidents: &[Incident], now: DateTime<Utc>) -> StoreResult<()> {
        note(&self.database, incidents, now).await
    }

    async fn resolve(
        &self,
        id: Uuid,
        decision: &Resolve,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<Result<Exception, CantResolve>>> {
        resolve(&self.database, id, decision, now).await
    }
}

/// Newest first.
async fn list(database: &Sqlite, filter: ExceptionFilter, page: Page) -> StoreResult<Vec<Exception>> {
    let mut query: QueryBuilder<sqlx::Sqlite> = QueryBuilder::new("SELECT * FROM exceptions WHERE TRUE");
    if let Some(state) = filter.state {
        query.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(tx_no) = filter.tx_no {
        query.push(" AND tx_no = ").push_bind(tx_no);
    }
    if let Some(after) = page.after {
        query.push(" AND id < ").push_bind(after);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(page.fetch());
    let rows: Vec<ExceptionRow> = query.build_query_as().fetch_all(&database.reader).await?;
    rows.into_iter().map(ExceptionRow::read).collect()
}

async fn show(database: &Sqlite, id: Uuid) -> StoreResult<Option<Exception>> {
    let row: Option<ExceptionRow> = sqlx::query_as("SELECT * FROM exceptions WHERE id = ?1")
        .bind(id)
        .fetch_optional(&database.reader)
        .await?;
    row.map(ExceptionRow::read).transpose()
}

async fn note(database: &Sqlite, incidents: &[Incident], now: DateTime<Utc>) -> StoreResult<()> {
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let noted = note_within(&mut transaction, incidents, now).await;
    transaction.conclude(noted).await
}

async fn note_within(
    connection: &mut SqliteConnection,
    incidents: &[Incident],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let mut ledger = posting::read(connection, &Named::by_incidents(incidents)).await?;
    for incident in incidents {
        ledger.note(incident.clone(), now);
    }
    posting::write(connection, &ledger.into_changes(), now).await
}

async fn resolve(
    database: &Sqlite,
    id: Uuid,
    decision: &Resolve,
    now: DateTime<Utc>,
) -> StoreResult<Option<Result<Exception, CantResolve>>> {
    let Some(exception) = show(database, id).await? else { return Ok(None) };
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let resolved = resolve_within(&mut transaction, &exception, decision, now).await;
    match transaction.conclude(resolved).await? {
        Ok(()) => Ok(show(database, id).await?.map(Ok)),
        Err(refused) => Ok(Some(Err(refused))),
    }
}

/// Writes nothing when the decision is refused.
async fn resolve_within(
    connection: &mut SqliteConnection,
    exception: &Exception,
    decision: &Resolve,
    now: DateTime<Utc>,
) -> StoreResult<Result<(), CantResolve>> {
    let mut ledger = posting::read(connection, &Named::by_exception(exception)).await?;
    if let Err(refused) = ledger.resolve(exception.id, decision, now) {
        return Ok(Err(refused));
    }
    posting::write(connection, &ledger.into_changes(), now).await?;
    Ok(Ok(()))
}

/// Every exception about `subjects`.
pub(super) async fn about(
    connection: &mut SqliteConnection,
    subjects: &[Uuid],
) -> StoreResult<Vec<Exception>> {
    let rows: Vec<ExceptionRow> =
        sqlx::query_as("SELECT * FROM exceptions WHERE subject IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(hex_list(subjects.iter().copied()))
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(ExceptionRow::read).collect()
}

pub(super) async fn write(connection: &mut SqliteConnection, exceptions: &[Exception]) -> StoreResult<()> {
    let micros = |time: DateTime<Utc>| json!(time.timestamp_micros());
    let rows: Vec<_> = exceptions.iter().map(|exception| to_json(exception, micros)).collect();
    sqlx::query(
        "INSERT INTO exceptions (id, subject, kind, tx_no, merchant_order_no, source, event_id, detail, received,
             contradiction, recorded, first_seen, last_seen, count, state, resolved_by, reason, resolved_at)
         SELECT unhex(value ->> 'id'), unhex(value ->> 'subject'), value ->> 'kind', unhex(value ->> 'tx_no'),
             value ->> 'merchant_order_no', value ->> 'source', value ->> 'event_id', value ->> 'detail',
             value ->> 'received', value ->> 'contradiction', value ->> 'recorded', value ->> 'first_seen',
             value ->> 'last_seen', value ->> 'count', value ->> 'state', value ->> 'resolved_by',
             value ->> 'reason', value ->> 'resolved_at'
         FROM json_each(?1) WHERE TRUE
         ON CONFLICT (id) DO UPDATE SET (contradiction, last_seen, count, state, resolved_by, reason, resolved_at) =
             (excluded.contradiction, excluded.last_seen, excluded.count, excluded.state, excluded.resolved_by,
              excluded.reason, excluded.resolved_at)",
    )
    .bind(json!(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}
