//! Exceptions in Postgres.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use runtime::http::Page;
use serde_json::json;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{PostgresStore, again_if_collided, posting};
use crate::domain::{CantResolve, Exception, ExceptionFilter, Incident, Resolve};
use crate::store::Named;
use crate::store::exception_store::{self, ExceptionStore, to_json};

type ExceptionRow = exception_store::ExceptionRow<DateTime<Utc>>;

#[async_trait]
impl ExceptionStore for PostgresStore {
    async fn exceptions(&self, filter: ExceptionFilter, page: Page) -> StoreResult<Vec<Exception>> {
        list(&self.pool, filter, page).await
    }

    async fn exception(&self, id: Uuid) -> StoreResult<Option<Exception>> {
        show(&self.pool, id).await
    }

    async fn note(&self, incidents: &[Incident], now: DateTime<Utc>) -> StoreResult<()> {
        again_if_collided(|| note(&self.pool, incidents, now)).await
    }

    async fn resolve(
        &self,
        id: Uuid,
        decision: &Resolve,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<Result<Exception, CantResolve>>> {
        again_if_collided(|| resolve(&self.pool, id, decision, now)).await
    }
}

/// Newest first.
async fn list(pool: &PgPool, filter: ExceptionFilter, page: Page) -> StoreResult<Vec<Exception>> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new("SELECT * FROM exceptions WHERE TRUE");
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
    let rows: Vec<ExceptionRow> = query.build_query_as().fetch_all(pool).await?;
    rows.into_iter().map(ExceptionRow::read).collect()
}

async fn show(pool: &PgPool, id: Uuid) -> StoreResult<Option<Exception>> {
    let row: Option<ExceptionRow> =
        sqlx::query_as("SELECT * FROM exceptions WHERE id = $1").bind(id).fetch_optional(pool).await?;
    row.map(ExceptionRow::read).transpose()
}

async fn note(pool: &PgPool, incidents: &[Incident], now: DateTime<Utc>) -> StoreResult<()> {
    let mut transaction = pool.begin().await?;
    let noted = note_within(&mut transaction, incidents, now).await;
    transaction.conclude(noted).await
}

async fn note_within(
    connection: &mut PgConnection,
    incidents: &[Incident],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let mut ledger = posting::read(connection, &Named::by_incidents(incidents)).await?;
    for incident in incidents {
        ledger.note(incident.clone(), now);
    }
    posting::write(connection, &ledger.into_changes(), now).await
}

/// The exception is read first without a lock, for what it names, and judged under the locks of the
/// books, which are taken in the order in which posting takes them.
async fn resolve(
    pool: &PgPool,
    id: Uuid,
    decision: &Resolve,
    now: DateTime<Utc>,
) -> StoreResult<Option<Result<Exception, CantResolve>>> {
    let Some(exception) = show(pool, id).await? else { return Ok(None) };
    let mut transaction = pool.begin().await?;
    let resolved = resolve_within(&mut transaction, &exception, decision, now).await;
    match transaction.conclude(resolved).await? {
        Ok(()) => Ok(show(pool, id).await?.map(Ok)),
        Err(refused) => Ok(Some(Err(refused))),
    }
}

/// Writes nothing when the decision is refused.
async fn resolve_within(
    connection: &mut PgConnection,
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

/// Every exception about `subjects`, locked in one order.
pub(super) async fn about(connection: &mut PgConnection, subjects: &[Uuid]) -> StoreResult<Vec<Exception>> {
    let rows: Vec<ExceptionRow> = sqlx::query_as(
        "SELECT * FROM exceptions WHERE subject = ANY($1) ORDER BY subject::text, kind, id FOR UPDATE",
    )
    .bind(subjects)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ExceptionRow::read).collect()
}

/// Fails as a whole when another process has opened one of them meanwhile.
pub(super) async fn write(connection: &mut PgConnection, exceptions: &[Exception]) -> StoreResult<()> {
    let rows: Vec<_> = exceptions.iter().map(|exception| to_json(exception, |time| json!(time))).collect();
    sqlx::query(
        "INSERT INTO exceptions SELECT * FROM json_populate_recordset(NULL::exceptions, $1::json)
         ON CONFLICT (id) DO UPDATE SET (contradiction, last_seen, count, state, resolved_by, reason, resolved_at) =
             (excluded.contradiction, excluded.last_seen, excluded.count, excluded.state, excluded.resolved_by,
              excluded.reason, excluded.resolved_at)",
    )
    .bind(json!(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}
