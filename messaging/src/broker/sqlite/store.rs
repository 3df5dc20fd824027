//! The broker's statements.

use std::time::Duration;

use chrono::TimeDelta;
use runtime::SharedClock;
use runtime::database::Sqlite;
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{Sqlite as Engine, Transaction};
use uuid::Uuid;

use super::DEAD_AFTER;
use crate::broker::{BrokerError, Delivery, Queue};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/messaging/sqlite");
/// A table of its own, so that the broker may live in a file with a service's tables.
const MIGRATIONS_TABLE: &str = "_broker_migrations";

/// The tables of the broker. Whatever changes more than one row is one `IMMEDIATE` transaction.
#[derive(Clone)]
pub(super) struct Store {
    db: Sqlite,
    clock: SharedClock,
}

/// Settlements of one consumer, by what happens to the messages.
#[derive(Default)]
pub(super) struct Settled {
    pub acked: Vec<i64>,
    pub requeued: Vec<i64>,
    pub dead: Vec<(i64, String)>,
}

impl From<sqlx::Error> for BrokerError {
    fn from(error: sqlx::Error) -> Self {
        Self::unavailable(error)
    }
}

impl Store {
    pub(super) async fn migrated(db: Sqlite, clock: SharedClock) -> Result<Self, BrokerError> {
        let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        // Processes that start together would migrate at once: SQLite has no lock of its own for that.
        let mut transaction = db.writer.begin_with("BEGIN IMMEDIATE").await?;
        migrator.run_direct(None, &mut *transaction, false).await.map_err(BrokerError::unavailable)?;
        transaction.commit().await?;
        Ok(Self { db, clock })
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    fn dead_line(&self) -> i64 {
        let grace = TimeDelta::from_std(DEAD_AFTER).unwrap_or(TimeDelta::MAX);
        (self.clock.now() - grace).timestamp_micros()
    }

    async fn begin(&self) -> Result<Transaction<'static, Engine>, BrokerError> {
        Ok(self.db.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Makes the queue, its dead-letter queue and its binding, as far as they are missing.
    pub(super) async fn declare(&self, queue: Queue) -> Result<(), BrokerError> {
        if self.bindings().await?.iter().any(|(name, pattern)| name == queue.name && pattern == queue.binding)
        {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO queues (name) VALUES (?1), (?2) ON CONFLICT DO NOTHING")
            .bind(queue.name)
            .bind(queue.dead())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO bindings (queue, pattern) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(queue.name)
            .bind(queue.binding)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Every binding: queue and pattern.
    pub(super) async fn bindings(&self) -> Result<Vec<(String, String)>, BrokerError> {
        Ok(sqlx::query_as("SELECT queue, pattern FROM bindings").fetch_all(&self.db.reader).await?)
    }

    /// Stores copies, each in its queue, all or none.
    pub(super) async fn put(&self, copies: &[(&str, Vec<u8>)]) -> Result<(), BrokerError> {
        if copies.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut transaction = self.begin().await?;
        for (queue, body) in copies {
            sqlx::query("INSERT INTO messages (queue, body, published_at) VALUES (?1, ?2, ?3)")
                .bind(*queue)
                .bind(body.as_slice())
                .bind(now)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// How many messages of `queue` are ready, counted up to `limit`, and whether a consumer has
    /// gone unseen for too long. Reads only, so that polling costs next to nothing.
    pub(super) async fn look(&self, queue: &str, limit: i64) -> Result<(i64, bool), BrokerError> {
        Ok(sqlx::query_as(
            "SELECT (SELECT count(*) FROM
                       (SELECT 1 FROM messages WHERE queue = ?1 AND consumer IS NULL LIMIT ?2)),
                    EXISTS (SELECT 1 FROM consumers WHERE seen_at < ?3)",
        )
        .bind(queue)
        .bind(limit)
        .bind(self.dead_line())
        .fetch_one(&self.db.reader)
        .await?)
    }

    /// Hands up to `limit` messages of `queue` to `consumer`, oldest first.
    pub(super) async fn take(
        &self,
        consumer: Uuid,
        queue: &str,
        limit: i64,
    ) -> Result<Vec<Delivery>, BrokerError> {
        let mut transaction = self.begin().await?;
        see(&mut transaction, &[consumer], self.now()).await?;
        let mut rows: Vec<(i64, Vec<u8>, Option<String>, i64)> = sqlx::query_as(
            "UPDATE messages SET consumer = ?1, handed_out = handed_out + 1
             WHERE id IN (
                 SELECT id FROM messages WHERE queue = ?2 AND consumer IS NULL ORDER BY id LIMIT ?3
             )
             RETURNING id, body, reason, handed_out",
        )
        .bind(consumer)
        .bind(queue)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.sort_unstable_by_key(|(id, ..)| *id);
        Ok(rows.into_iter().map(delivery).collect())
    }

    /// Settles messages that `consumer` holds; answers how many it did hold.
    pub(super) async fn settle(&self, consumer: Uuid, settled: &Settled) -> Result<u64, BrokerError> {
        let dead: Vec<_> = settled.dead.iter().map(|(id, reason)| json!([id, reason])).collect();
        let mut transaction = self.begin().await?;
        let mut held = 0;
        for (statement, list) in [
            (
                "DELETE FROM messages
                 WHERE id IN (SELECT value FROM json_each(?2)) AND consumer = ?1",
                json!(settled.acked),
            ),
            (
                "UPDATE messages SET consumer = NULL
                 WHERE id IN (SELECT value FROM json_each(?2)) AND consumer = ?1",
                json!(settled.requeued),
            ),
            (
                "UPDATE messages
                 SET queue = queue || '.dead', consumer = NULL, handed_out = 0, reason = dead.reason
                 FROM (SELECT value ->> 0 AS id, value ->> 1 AS reason FROM json_each(?2)) AS dead
                 WHERE messages.id = dead.id AND consumer = ?1",
                json!(dead),
            ),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                let done = sqlx::query(statement).bind(consumer).bind(list.to_string());
                held += done.execute(&mut *transaction).await?.rows_affected();
            }
        }
        transaction.commit().await?;
        Ok(held)
    }

    /// Takes leave of `consumer`: what it holds is ready again.
    pub(super) async fn leave(&self, consumer: Uuid) -> Result<(), BrokerError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE messages SET consumer = NULL WHERE consumer = ?1")
            .bind(consumer)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM consumers WHERE id = ?1").bind(consumer).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Notes that `living` consumers are alive, then takes leave of every other unseen one.
    pub(super) async fn bury_the_dead(&self, living: &[Uuid]) -> Result<(), BrokerError> {
        let mut transaction = self.begin().await?;
        see(&mut transaction, living, self.now()).await?;
        sqlx::query(
            "UPDATE messages SET consumer = NULL
             WHERE consumer IN (SELECT id FROM consumers WHERE seen_at < ?1)",
        )
        .bind(self.dead_line())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM consumers WHERE seen_at < ?1")
            .bind(self.dead_line())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Notes that `living` consumers are alive.
    pub(super) async fn see(&self, living: &[Uuid]) -> Result<(), BrokerError> {
        let mut transaction = self.begin().await?;
        see(&mut transaction, living, self.now()).await?;
        Ok(transaction.commit().await?)
    }
}

async fn see(
    transaction: &mut Transaction<'_, Engine>,
    living: &[Uuid],
    now: i64,
) -> Result<(), sqlx::Error> {
    let ids: Vec<String> = living.iter().map(|id| id.simple().to_string()).collect();
    sqlx::query(
        "INSERT INTO consumers (id, seen_at) SELECT unhex(value), ?2 FROM json_each(?1) WHERE true
         ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
    )
    .bind(json!(ids).to_string())
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn delivery((id, body, reason, handed_out): (i64, Vec<u8>, Option<String>, i64)) -> Delivery {
    Delivery { tag: id.unsigned_abs(), body: body.into(), redelivered: handed_out > 1, reason }
}

/// How often a consumer that holds messages is seen alive; well within [`DEAD_AFTER`].
pub(super) const SEEN_EVERY: Duration = Duration::from_secs(1);
