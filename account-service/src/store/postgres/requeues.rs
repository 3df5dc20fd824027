//! Requeues in Postgres.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::Requeue;
use crate::store::RequeueStore;
use crate::store::requeue_store::{self, MOST_RELATED};

type RequeueRow = requeue_store::RequeueRow<DateTime<Utc>>;

#[async_trait]
impl RequeueStore for PostgresStore {
    async fn ask_requeue(&self, requeue: &Requeue) -> StoreResult<()> {
        sqlx::query(
            "INSERT INTO requeues (id, dead_letter_id, event_id, event_type, subject, given_up_for, attempts,
                                   asked_by, reason, asked_at, requeued_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(requeue.id)
        .bind(requeue.dead_letter_id)
        .bind(&requeue.event_id)
        .bind(&requeue.event_type)
        .bind(&requeue.subject)
        .bind(&requeue.given_up_for)
        .bind(i64::from(requeue.attempts))
        .bind(&requeue.asked_by)
        .bind(&requeue.reason)
        .bind(requeue.asked_at)
        .bind(requeue.requeued_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn confirm_requeue(&self, id: Uuid, at: DateTime<Utc>) -> StoreResult<()> {
        sqlx::query("UPDATE requeues SET requeued_at = $2 WHERE id = $1")
            .bind(id)
            .bind(at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn requeues(&self, page: Page) -> StoreResult<Vec<Requeue>> {
        let rows: Vec<RequeueRow> = sqlx::query_as(
            "SELECT * FROM requeues WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(page.after)
        .bind(page.fetch())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RequeueRow::read).collect()
    }

    async fn requeues_about(&self, letter: Uuid, event_id: Option<&str>) -> StoreResult<Vec<Requeue>> {
        let rows: Vec<RequeueRow> = sqlx::query_as(
            "SELECT * FROM requeues WHERE dead_letter_id = $1 OR event_id = $2
             ORDER BY id DESC LIMIT $3",
        )
        .bind(letter)
        .bind(event_id)
        .bind(MOST_RELATED)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RequeueRow::read).collect()
    }
}
