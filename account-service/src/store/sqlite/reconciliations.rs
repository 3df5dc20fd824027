//! Reconciliations in `SQLite`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{Sqlite, StoreResult, hex};
use runtime::http::Page;
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{CreditRow, SqliteStore, posting};
use crate::domain::{
    BY_ITSELF, Cancellation, Credit, Difference, DifferenceKind, Ended, Findings, KeptDifference, Period,
    Reconciled, Reconciliation, ReconciliationState, Stretch,
};
use crate::store::Named;
use crate::store::reconciliation_store::{
    self, BEGUN, COVERED, MOST_RUNNING, ReconciliationStore, UNFINISHED, VOID, VOIDED, counts_json, latest,
    sides_json, totals_json,
};

type ReconciliationRow = reconciliation_store::ReconciliationRow<i64>;
type DifferenceRow = reconciliation_store::DifferenceRow<i64>;

#[async_trait]
impl ReconciliationStore for SqliteStore {
    async fn start_reconciliation(&self, new: &Reconciliation) -> StoreResult<bool> {
        let inserted = sqlx::query(
            "INSERT INTO reconciliations (id, period_from, period_to, origin, asked_by, asked_at, state, pages,
                                          recharges, totals, differences, due_at, failures)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, 'running', 0, 0, '{}', '{}', ?6, 0
             WHERE ?4 = 'nightly' OR ?7 > (SELECT count(*) FROM reconciliations
                                           WHERE due_at IS NOT NULL AND origin = 'asked')
             ON CONFLICT DO NOTHING",
        )
        .bind(new.id)
        .bind(new.period.from.timestamp_micros())
        .bind(new.period.to.timestamp_micros())
        .bind(new.origin.as_str())
        .bind(&new.asked_by)
        .bind(new.asked_at.timestamp_micros())
        .bind(MOST_RUNNING)
        .execute(&self.database.writer)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn claim_reconciliation(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> StoreResult<Option<Reconciliation>> {
        if !is_due(&self.database, now).await? {
            return Ok(None);
        }
        let row: Option<ReconciliationRow> = sqlx::query_as(
            "UPDATE reconciliations SET token = ?1, due_at = ?3 WHERE id = (
                 SELECT id FROM reconciliations WHERE due_at <= ?2 ORDER BY due_at LIMIT 1
             ) RETURNING *",
        )
        .bind(token)
        .bind(now.timestamp_micros())
        .bind(until.timestamp_micros())
        .fetch_optional(&self.database.writer)
        .await?;
        row.map(ReconciliationRow::read).transpose()
    }

    async fn credits_after(
        &self,
        period: Period,
        after: Option<Uuid>,
        limit: u16,
    ) -> StoreResult<Vec<Credit>> {
        let rows: Vec<CreditRow> = sqlx::query_as(
            "SELECT * FROM credits WHERE tx_no >= ?1 AND tx_no < ?2 AND (?3 IS NULL OR tx_no > ?3)
             ORDER BY tx_no LIMIT ?4",
        )
        .bind(after.unwrap_or(period.first()))
        .bind(period.end())
        .bind(after)
        .bind(limit)
        .fetch_all(&self.database.reader)
        .await?;
        rows.into_iter().map(CreditRow::read).collect()
    }

    async fn keep_stretch(
        &self,
        token: Uuid,
        id: Uuid,
        stretch: &Stretch,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<(Reconciliation, Findings)>> {
        keep(&self.database, token, id, stretch, now).await
    }

    async fn put_off_reconciliation(&self, token: Uuid, put_off: &Reconciliation) -> StoreResult<()> {
        let ReconciliationState::Running { due_at, failures, last_error } = &put_off.state else {
            return Ok(());
        };
        sqlx::query(
            "UPDATE reconciliations SET due_at = ?3, failures = ?4, last_error = ?5, token = NULL
             WHERE id = ?1 AND token = ?2",
        )
        .bind(put_off.id)
        .bind(token)
        .bind(due_at.timestamp_micros())
        .bind(failures)
        .bind(last_error)
        .execute(&self.database.writer)
        .await?;
        Ok(())
    }

    async fn cancel_reconciliation(
        &self,
        id: Uuid,
        cancellation: &Cancellation,
    ) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
        cancel(&self.database, id, cancellation).await
    }

    async fn reconciled(&self, now: DateTime<Utc>) -> StoreResult<Reconciled> {
        let latest = latest(now).timestamp_micros();
        let reader = &self.database.reader;
        let begun = sqlx::query_as(BEGUN).bind(latest).fetch_one(reader).await?;
        let covered = sqlx::query_as(COVERED).bind(latest).fetch_all(reader).await?;
        let unfinished = sqlx::query_as(UNFINISHED).fetch_all(reader).await?;
        reconciliation_store::reconciled::<i64>(begun, covered, unfinished)
    }

    async fn void_reconciliations(&self, now: DateTime<Utc>) -> StoreResult<u64> {
        let voided = sqlx::query(VOID)
            .bind(latest(now).timestamp_micros())
            .bind(now.timestamp_micros())
            .bind(BY_ITSELF)
            .bind(VOIDED)
            .execute(&self.database.writer)
            .await?;
        Ok(voided.rows_affected())
    }

    async fn reconciliations(&self, page: Page) -> StoreResult<Vec<Reconciliation>> {
        let rows: Vec<ReconciliationRow> = sqlx::query_as(
            "SELECT * FROM reconciliations WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2",
        )
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.database.reader)
        .await?;
        rows.into_iter().map(ReconciliationRow::read).collect()
    }

    async fn reconciliation(&self, id: Uuid) -> StoreResult<Option<Reconciliation>> {
        let row: Option<ReconciliationRow> = sqlx::query_as("SELECT * FROM reconciliations WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.database.reader)
            .await?;
        row.map(ReconciliationRow::read).transpose()
    }

    async fn differences(
        &self,
        id: Uuid,
        kind: Option<DifferenceKind>,
        page: Page,
    ) -> StoreResult<Vec<KeptDifference>> {
        let rows: Vec<DifferenceRow> = sqlx::query_as(
            "SELECT * FROM reconciliation_differences
             WHERE reconciliation_id = ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR tx_no > ?3)
             ORDER BY tx_no LIMIT ?4",
        )
        .bind(id)
        .bind(kind.map(DifferenceKind::as_str))
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.database.reader)
        .await?;
        rows.into_iter().map(DifferenceRow::read).collect()
    }
}

/// A look that finds nothing must not cost a write.
async fn is_due(database: &Sqlite, now: DateTime<Utc>) -> StoreResult<bool> {
    let due = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM reconciliations WHERE due_at <= ?1)")
        .bind(now.timestamp_micros())
        .fetch_one(&database.reader)
        .await?;
    Ok(due)
}

async fn keep(
    database: &Sqlite,
    token: Uuid,
    id: Uuid,
    stretch: &Stretch,
    now: DateTime<Utc>,
) -> StoreResult<Option<(Reconciliation, Findings)>> {
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let kept = keep_within(&mut transaction, token, id, stretch, now).await;
    transaction.conclude(kept).await
}

async fn keep_within(
    connection: &mut SqliteConnection,
    token: Uuid,
    id: Uuid,
    stretch: &Stretch,
    now: DateTime<Utc>,
) -> StoreResult<Option<(Reconciliation, Findings)>> {
    let row: Option<ReconciliationRow> =
        sqlx::query_as("SELECT * FROM reconciliations WHERE id = ?1 AND token = ?2")
            .bind(id)
            .bind(token)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(mut reconciliation) = row.map(ReconciliationRow::read).transpose()? else {
        return Ok(None);
    };
    let mut ledger = posting::read(connection, &Named::by_stretch(stretch)).await?;
    let findings = ledger.reconcile(stretch, now);
    reconciliation.advance(stretch, &findings, now);
    posting::write(connection, &ledger.into_changes(), now).await?;
    if !findings.differences.is_empty() {
        insert(connection, id, &findings.differences, now).await?;
    }
    update(connection, &reconciliation).await?;
    Ok(Some((reconciliation, findings)))
}

async fn cancel(
    database: &Sqlite,
    id: Uuid,
    cancellation: &Cancellation,
) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let cancelled = cancel_within(&mut transaction, id, cancellation).await;
    transaction.conclude(cancelled).await
}

async fn cancel_within(
    connection: &mut SqliteConnection,
    id: Uuid,
    cancellation: &Cancellation,
) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
    let row: Option<ReconciliationRow> = sqlx::query_as("SELECT * FROM reconciliations WHERE id = ?1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(mut reconciliation) = row.map(ReconciliationRow::read).transpose()? else {
        return Ok(None);
    };
    if let Err(ended) = reconciliation.cancel(cancellation.clone()) {
        return Ok(Some(Err(ended)));
    }
    sqlx::query(
        "UPDATE reconciliations SET state = 'cancelled', due_at = NULL, token = NULL, cancelled_at = ?2,
                cancelled_by = ?3, cancel_reason = ?4
         WHERE id = ?1",
    )
    .bind(id)
    .bind(cancellation.at.timestamp_micros())
    .bind(&cancellation.by)
    .bind(&cancellation.reason)
    .execute(&mut *connection)
    .await?;
    Ok(Some(Ok(reconciliation)))
}

async fn insert(
    connection: &mut SqliteConnection,
    id: Uuid,
    differences: &[Difference],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let row = |difference: &Difference| {
        let (there, here) = sides_json(difference);
        let (tx_no, exception_id) = (hex(difference.tx_no), difference.exception_id.map(hex));
        json!([tx_no, difference.kind.as_str(), there, here, difference.detail, exception_id])
    };
    let rows: Vec<_> = differences.iter().map(row).collect();
    sqlx::query(
        "INSERT INTO reconciliation_differences
             (reconciliation_id, tx_no, kind, there, here, detail, exception_id, found_at)
         SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, unhex(value ->> 5), ?3
         FROM json_each(?2)",
    )
    .bind(id)
    .bind(json!(rows).to_string())
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves it past the stretch and gives the lease back.
async fn update(connection: &mut SqliteConnection, reconciliation: &Reconciliation) -> StoreResult<()> {
    let state = &reconciliation.state;
    let progress = &reconciliation.progress;
    sqlx::query(
        "UPDATE reconciliations SET state = ?2, after_tx_no = ?3, pages = ?4, recharges = ?5, totals = ?6,
                differences = ?7, due_at = ?8, finished_at = ?9, failures = 0, last_error = NULL, token = NULL
         WHERE id = ?1",
    )
    .bind(reconciliation.id)
    .bind(state.as_str())
    .bind(progress.after)
    .bind(i64::try_from(progress.pages).unwrap_or(i64::MAX))
    .bind(i64::try_from(progress.recharges).unwrap_or(i64::MAX))
    .bind(totals_json(&progress.totals))
    .bind(counts_json(&progress.differences))
    .bind(state.due_at().map(|at| at.timestamp_micros()))
    .bind(state.finished_at().map(|at| at.timestamp_micros()))
    .execute(connection)
    .await?;
    Ok(())
}
