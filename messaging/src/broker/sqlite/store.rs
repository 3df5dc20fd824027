//! The broker's statements.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use runtime::SharedClock;
use runtime::clock::StepWatch;
use runtime::database::{Sqlite, SqlitePool, SqliteTransaction, hex_list, list};
use runtime::duration::HumanDuration;
use serde_json::json;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use super::DEAD_AFTER;
use crate::broker::{BrokerError, Delivery, History, Queue};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/messaging/sqlite");
/// How many messages whose wait is over return at once.
const RETURN_BATCH: i64 = 1000;
/// A table of its own, so that the broker may live in a file with a service's tables.
const MIGRATIONS_TABLE: &str = "_broker_migrations";

/// The tables of the broker. Whatever changes more than one row is one `IMMEDIATE` transaction.
#[derive(Clone)]
pub(super) struct Store {
    db: Sqlite,
    clock: SharedClock,
}

/// What a declaration found missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// All was there.
    Nothing,
    /// The binding of a queue that was there.
    Binding,
    /// The queue.
    Queue,
}

/// What a consumer finds when it looks.
#[derive(sqlx::FromRow)]
pub(super) struct Sight {
    /// How many messages of its queue are ready, counted up to its limit.
    pub ready: i64,
    /// A consumer has gone unseen for too long.
    pub unseen: bool,
    /// The wait of a message of any queue is over.
    pub due: bool,
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
        db.writer.migrate_within("BEGIN IMMEDIATE", &migrator).await.map_err(BrokerError::unavailable)?;
        Ok(Self { db, clock })
    }

    /// Whether the file takes writes, for readiness.
    pub(super) async fn takes_writes(&self) -> Result<(), BrokerError> {
        self.db.takes_writes().await.map_err(BrokerError::unavailable)
    }

    pub(super) fn reader(&self) -> &SqlitePool {
        &self.db.reader
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    fn dead_line(&self) -> i64 {
        let grace = TimeDelta::from_std(DEAD_AFTER).unwrap_or(TimeDelta::MAX);
        (self.clock.lease_time() - grace).timestamp_micros()
    }

    pub(super) async fn begin(&self) -> Result<SqliteTransaction, BrokerError> {
        Ok(self.db.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Makes the queue, its dead-letter queue and its binding, as far as they are missing.
    pub(super) async fn declare(&self, queue: Queue) -> Result<Made, BrokerError> {
        if self.bindings().await?.iter().any(|(name, pattern)| name == queue.name && pattern == queue.binding)
        {
            return Ok(Made::Nothing);
        }
        let mut transaction = self.begin().await?;
        let queues = sqlx::query("INSERT INTO queues (name) VALUES (?1), (?2) ON CONFLICT DO NOTHING")
            .bind(queue.name)
            .bind(queue.dead())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO bindings (queue, pattern) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(queue.name)
            .bind(queue.binding)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(if queues.rows_affected() == 0 { Made::Binding } else { Made::Queue })
    }

    /// Makes the queues in which messages of `queue` wait for `steps`, as far as they are missing.
    pub(super) async fn declare_steps(
        &self,
        queue: Queue,
        steps: &[HumanDuration],
    ) -> Result<(), BrokerError> {
        let names: Vec<String> = steps.iter().map(|step| queue.retry(*step)).collect();
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO queues (name) SELECT DISTINCT value FROM json_each(?1) WHERE true
             ON CONFLICT DO NOTHING",
        )
        .bind(json!(names).to_string())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Every binding: queue and pattern.
    pub(super) async fn bindings(&self) -> Result<Vec<(String, String)>, BrokerError> {
        Ok(sqlx::query_as("SELECT queue, pattern FROM bindings").fetch_all(&self.db.reader).await?)
    }

    /// Stores copies of JSON texts, each in its queue, in their order, all or none.
    pub(super) async fn put(&self, copies: &[(&str, String)]) -> Result<(), BrokerError> {
        if copies.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO messages (queue, body, published_at)
             SELECT value ->> 0, CAST(value ->> 1 AS BLOB), ?2 FROM json_each(?1) ORDER BY key",
        )
        .bind(list(copies.iter().map(|(queue, body)| json!([queue, body]))))
        .bind(self.now())
        .execute(&self.db.writer)
        .await?;
        Ok(())
    }

    /// What there is to do for a consumer of `queue`. Reads only, so that polling costs next to nothing.
    pub(super) async fn look(&self, queue: &str, limit: i64) -> Result<Sight, BrokerError> {
        Ok(sqlx::query_as(
            "SELECT (SELECT count(*) FROM
                       (SELECT 1 FROM messages WHERE queue = ?1 AND consumer IS NULL LIMIT ?2)) AS ready,
                    EXISTS (SELECT 1 FROM consumers WHERE seen_at < ?3) AS unseen,
                    EXISTS (SELECT 1 FROM messages WHERE due_at <= ?4) AS due",
        )
        .bind(queue)
        .bind(limit)
        .bind(self.dead_line())
        .bind(self.now())
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
        let mut rows: Vec<Taken> = sqlx::query_as(
            "UPDATE messages SET consumer = ?1, handed_out = handed_out + 1
             WHERE id IN (
                 SELECT id FROM messages WHERE queue = ?2 AND consumer IS NULL ORDER BY id LIMIT ?3
             )
             RETURNING id, body, published_at, attempts, reason, handed_out",
        )
        .bind(consumer)
        .bind(queue)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows.into_iter().map(Taken::delivery).collect())
    }

    /// Returns messages whose wait is over to their queues.
    pub(super) async fn return_due(&self) -> Result<(), BrokerError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE messages SET queue = returns_to, returns_to = NULL, due_at = NULL
             WHERE id IN (SELECT id FROM messages WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2)",
        )
        .bind(self.now())
        .bind(RETURN_BATCH)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Brings times that are further ahead than they can be back to the furthest that they can be: they
    /// were written with a clock that was ahead. A message waits for the step that its queue is named
    /// after; a consumer is seen at present.
    pub(super) async fn clamp(&self) -> Result<(), BrokerError> {
        let now = self.now();
        let mut transaction = self.begin().await?;
        let waits: Vec<String> = sqlx::query_scalar("SELECT DISTINCT queue FROM messages WHERE due_at > ?1")
            .bind(now)
            .fetch_all(&mut *transaction)
            .await?;
        for (queue, wait) in waits.iter().filter_map(|queue| Some((queue, step_of(queue)?))) {
            sqlx::query("UPDATE messages SET due_at = ?2 WHERE queue = ?1 AND due_at > ?2")
                .bind(queue)
                .bind(now.saturating_add(wait))
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("UPDATE consumers SET seen_at = ?1 WHERE seen_at > ?1")
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Says when [`Store::clamp`] is to be called.
    pub(super) fn step_watch(&self) -> StepWatch {
        StepWatch::new(self.clock.clone())
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

/// How long messages wait in a queue that [`Queue::retry`] has named, in microseconds.
fn step_of(queue: &str) -> Option<i64> {
    let (_, step) = queue.rsplit_once(".retry.")?;
    let step: HumanDuration = step.parse().ok()?;
    i64::try_from(step.0.as_micros()).ok()
}

async fn see(transaction: &mut SqliteTransaction, living: &[Uuid], now: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO consumers (id, seen_at) SELECT unhex(value), ?2 FROM json_each(?1) WHERE true
         ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
    )
    .bind(hex_list(living.iter().copied()))
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// A message that was handed out.
#[derive(sqlx::FromRow)]
struct Taken {
    id: i64,
    body: Vec<u8>,
    published_at: i64,
    attempts: u32,
    reason: Option<String>,
    handed_out: i64,
}

impl Taken {
    fn delivery(self) -> Delivery {
        let history = History {
            first_published_at: DateTime::from_timestamp_micros(self.published_at),
            attempts: self.attempts,
            reason: self.reason,
        };
        let redelivered = self.handed_out > 1;
        Delivery { tag: self.id.unsigned_abs(), body: self.body.into(), redelivered, history }
    }
}

/// How often a consumer that holds messages is seen alive; well within [`DEAD_AFTER`].
pub(super) const SEEN_EVERY: Duration = Duration::from_secs(1);
