//! Reconciliations in Postgres, shared through `FOR UPDATE SKIP LOCKED`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use runtime::http::Page;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{CreditRow, PostgresStore, again_if_collided, posting};
use crate::domain::{
    BY_ITSELF, Cancellation, Credit, Difference, DifferenceKind, Ended, Findings, KeptDifference, Period,
    Reconciled, Reconciliation, ReconciliationState, Stretch,
};
use crate::store::Named;
use crate::store::reconciliation_store::{
    self, BEGUN, COVERED, MOST_RUNNING, ReconciliationStore, UNFINISHED, VOID, VOIDED, counts_json, latest,
    sides_json, totals_json,
};

type ReconciliationRow = reconciliation_store::ReconciliationRow<DateTime<Utc>>;
type DifferenceRow = reconciliation_store::DifferenceRow<DateTime<Utc>>;

#[async_trait]
impl ReconciliationStore for PostgresStore {
    async fn start_reconciliation(&self, new: &Reconciliation) -> StoreResult<bool> {
        let inserted = sqlx::query(
            "INSERT INTO reconciliations (id, period_from, period_to, origin, asked_by, asked_at, state, pages,
                                          recharges, totals, differences, due_at, failures)
             SELECT $1, $2, $3, $4, $5, $6, 'running', 0, 0, '{}', '{}', $6, 0
             WHERE $4 = 'nightly' OR $7 > (SELECT count(*) FROM reconciliations
                                           WHERE due_at IS NOT NULL AND origin = 'asked')
             ON CONFLICT DO NOTHING",
        )
        .bind(new.id)
        .bind(new.period.from)
        .bind(new.period.to)
        .bind(new.origin.as_str())
        .bind(&new.asked_by)
        .bind(new.asked_at)
        .bind(MOST_RUNNING)
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    async fn claim_reconciliation(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> StoreResult<Option<Reconciliation>> {
        let row: Option<ReconciliationRow> = sqlx::query_as(
            "UPDATE reconciliations SET token = $1, due_at = $3 WHERE id = (
                 SELECT id FROM reconciliations WHERE due_at <= $2 ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
             ) RETURNING *",
        )
        .bind(token)
        .bind(now)
        .bind(until)
        .fetch_optional(&self.pool)
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
            "SELECT * FROM credits WHERE tx_no >= $1 AND tx_no < $2 AND ($3::uuid IS NULL OR tx_no > $3)
             ORDER BY tx_no LIMIT $4",
        )
        .bind(after.unwrap_or(period.first()))
        .bind(period.end())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
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
        again_if_collided(|| keep(&self.pool, token, id, stretch, now)).await
    }

    async fn put_off_reconciliation(&self, token: Uuid, put_off: &Reconciliation) -> StoreResult<()> {
        let ReconciliationState::Running { due_at, failures, last_error } = &put_off.state else {
            return Ok(());
        };
        sqlx::query(
            "UPDATE reconciliations SET due_at = $3, failures = $4, last_error = $5, token = NULL
             WHERE id = $1 AND token = $2",
        )
        .bind(put_off.id)
        .bind(token)
        .bind(due_at)
        .bind(i64::from(*failures))
        .bind(last_error)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn cancel_reconciliation(
        &self,
        id: Uuid,
        cancellation: &Cancellation,
    ) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
        cancel(&self.pool, id, cancellation).await
    }

    async fn reconciled(&self, now: DateTime<Utc>) -> StoreResult<Reconciled> {
        let latest = latest(now);
        let reader = &self.pool;
        let begun = sqlx::query_as(BEGUN).bind(latest).fetch_one(reader).await?;
        let covered = sqlx::query_as(COVERED).bind(latest).fetch_all(reader).await?;
        let unfinished = sqlx::query_as(UNFINISHED).fetch_all(reader).await?;
        reconciliation_store::reconciled::<DateTime<Utc>>(begun, covered, unfinished)
    }

    async fn void_reconciliations(&self, now: DateTime<Utc>) -> StoreResult<u64> {
        let voided = sqlx::query(VOID)
            .bind(latest(now))
            .bind(now)
            .bind(BY_ITSELF)
            .bind(VOIDED)
            .execute(&self.pool)
            .await?;
        Ok(voided.rows_affected())
    }

    async fn reconciliations(&self, page: Page) -> StoreResult<Vec<Reconciliation>> {
        let rows: Vec<ReconciliationRow> = sqlx::query_as(
            "SELECT * FROM reconciliations WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ReconciliationRow::read).collect()
    }

    async fn reconciliation(&self, id: Uuid) -> StoreResult<Option<Reconciliation>> {
        let row: Option<ReconciliationRow> = sqlx::query_as("SELECT * FROM reconciliations WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
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
             WHERE reconciliation_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::uuid IS NULL OR tx_no > $3)
             ORDER BY tx_no LIMIT $4",
        )
        .bind(id)
        .bind(kind.map(DifferenceKind::as_str))
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(DifferenceRow::read).collect()
    }
}

/// The reconciliation is locked first, then the books in the order in which posting locks them.
async fn keep(
    pool: &PgPool,
    token: Uuid,
    id: Uuid,
    stretch: &Stretch,
    now: DateTime<Utc>,
) -> StoreResult<Option<(Reconciliation, Findings)>> {
    let mut transaction = pool.begin().await?;
    let kept = keep_within(&mut transaction, token, id, stretch, now).await;
    transaction.conclude(kept).await
}

async fn keep_within(
    connection: &mut PgConnection,
    token: Uuid,
    id: Uuid,
    stretch: &Stretch,
    now: DateTime<Utc>,
) -> StoreResult<Option<(Reconciliation, Findings)>> {
    let row: Option<ReconciliationRow> =
        sqlx::query_as("SELECT * FROM reconciliations WHERE id = $1 AND token = $2 FOR UPDATE")
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
    pool: &PgPool,
    id: Uuid,
    cancellation: &Cancellation,
) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
    let mut transaction = pool.begin().await?;
    let cancelled = cancel_within(&mut transaction, id, cancellation).await;
    transaction.conclude(cancelled).await
}

async fn cancel_within(
    connection: &mut PgConnection,
    id: Uuid,
    cancellation: &Cancellation,
) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
    let row: Option<ReconciliationRow> =
        sqlx::query_as("SELECT * FROM reconciliations WHERE id = $1 FOR UPDATE")
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
        "UPDATE reconciliations SET state = 'cancelled', due_at = NULL, token = NULL, cancelled_at = $2,
                cancelled_by = $3, cancel_reason = $4
         WHERE id = $1",
    )
    .bind(id)
    .bind(cancellation.at)
    .bind(&cancellation.by)
    .bind(&cancellation.reason)
    .execute(&mut *connection)
    .await?;
    Ok(Some(Ok(reconciliation)))
}

async fn insert(
    connection: &mut PgConnection,
    id: Uuid,
    differences: &[Difference],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let (there, here): (Vec<_>, Vec<_>) = differences.iter().map(sides_json).unzip();
    sqlx::query(
        "INSERT INTO reconciliation_differences
             (reconciliation_id, tx_no, kind, there, here, detail, exception_id, found_at)
         SELECT $1, found.*, $8
         FROM UNNEST($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[]) AS found",
    )
    .bind(id)
    .bind(differences.iter().map(|d| d.tx_no).collect::<Vec<_>>())
    .bind(differences.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>())
    .bind(there)
    .bind(here)
    .bind(differences.iter().map(|d| d.detail.clone()).collect::<Vec<_>>())
    .bind(differences.iter().map(|d| d.exception_id).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves it past the stretch and gives the lease back.
async fn update(connection: &mut PgConnection, reconciliation: &Reconciliation) -> StoreResult<()> {
    let state = &reconciliation.state;
    let progress = &reconciliation.progress;
    sqlx::query(
        "UPDATE reconciliations SET state = $2, after_tx_no = $3, pages = $4, recharges = $5, totals = $6,
                differences = $7, due_at = $8, finished_at = $9, failures = 0, last_error = NULL, token = NULL
         WHERE id = $1",
    )
    .bind(reconciliation.id)
    .bind(state.as_str())
    .bind(progress.after)
    .bind(i64::try_from(progress.pages).unwrap_or(i64::MAX))
    .bind(i64::try_from(progress.recharges).unwrap_or(i64::MAX))
    .bind(totals_json(&progress.totals))
    .bind(counts_json(&progress.differences))
    .bind(state.due_at())
    .bind(state.finished_at())
    .execute(connection)
    .await?;
    Ok(())
}
