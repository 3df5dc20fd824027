//! The dead-letter queue of one queue in the file: rows that are read, and one that is put back.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use runtime::http::Page;
use runtime::repeated::storable;
use uuid::Uuid;

use super::Shared;
use super::store::Store;
use crate::broker::{BrokerError, DeadLetter, DeadLetters, History, Queue};
use crate::event::MAX_EVENT_BYTES;

pub(super) struct SqliteDeadLetters {
    shared: Arc<Shared>,
    queue: Queue,
}

impl SqliteDeadLetters {
    pub(super) fn new(shared: Arc<Shared>, queue: Queue) -> Self {
        Self { shared, queue }
    }
}

#[async_trait]
impl DeadLetters for SqliteDeadLetters {
    async fn list(&self, page: Page) -> Result<Vec<DeadLetter>, BrokerError> {
        self.shared.store.dead_letters(&self.queue.dead(), page).await
    }

    async fn find(&self, id: Uuid) -> Result<Option<DeadLetter>, BrokerError> {
        self.shared.store.dead_letter(&self.queue.dead(), id).await
    }

    async fn requeue(&self, id: Uuid) -> Result<bool, BrokerError> {
        let requeued = self.shared.store.revive(self.queue, id).await?;
        if requeued {
            self.shared.wake(self.queue.name).notify_waiters();
        }
        Ok(requeued)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    dead_letter_id: Uuid,
    body: Vec<u8>,
    size: i64,
    published_at: i64,
    attempts: u32,
    reason: Option<String>,
    dead_lettered_at: i64,
}

impl Row {
    fn read(self) -> DeadLetter {
        DeadLetter {
            id: self.dead_letter_id,
            body: self.body.into(),
            size: usize::try_from(self.size).unwrap_or_default(),
            history: History {
                first_published_at: DateTime::from_timestamp_micros(self.published_at),
                attempts: self.attempts,
                reason: self.reason.as_deref().map(storable),
            },
            dead_lettered_at: DateTime::from_timestamp_micros(self.dead_lettered_at),
        }
    }
}

impl Store {
    async fn dead_letters(&self, dead: &str, page: Page) -> Result<Vec<DeadLetter>, BrokerError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT dead_letter_id, substr(body, 1, ?4) AS body, length(body) AS size, published_at, attempts,
                    reason, dead_lettered_at
             FROM messages
             WHERE queue = ?1 AND dead_letter_id IS NOT NULL AND (?2 IS NULL OR dead_letter_id < ?2)
             ORDER BY dead_letter_id DESC LIMIT ?3",
        )
        .bind(dead)
        .bind(page.after)
        .bind(page.fetch())
        .bind(excerpt())
        .fetch_all(self.reader())
        .await?;
        Ok(rows.into_iter().map(Row::read).collect())
    }

    async fn dead_letter(&self, dead: &str, id: Uuid) -> Result<Option<DeadLetter>, BrokerError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT dead_letter_id, substr(body, 1, ?3) AS body, length(body) AS size, published_at, attempts,
                    reason, dead_lettered_at
             FROM messages WHERE queue = ?1 AND dead_letter_id = ?2",
        )
        .bind(dead)
        .bind(id)
        .bind(excerpt())
        .fetch_optional(self.reader())
        .await?;
        Ok(row.map(Row::read))
    }

    /// Puts a dead letter back into `queue`; answers whether there is one.
    async fn revive(&self, queue: Queue, id: Uuid) -> Result<bool, BrokerError> {
        let mut transaction = self.begin().await?;
        let revived = sqlx::query(
            "UPDATE messages
             SET queue = ?1, dead_letter_id = NULL, dead_lettered_at = NULL, attempts = 0, reason = NULL
             WHERE queue = ?2 AND dead_letter_id = ?3",
        )
        .bind(queue.name)
        .bind(queue.dead())
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(revived.rows_affected() > 0)
    }
}

fn excerpt() -> i64 {
    i64::try_from(MAX_EVENT_BYTES).unwrap_or(i64::MAX)
}
