//! The store in Postgres: any number of notifier processes share it.

mod audits;
mod backlog;
mod bulk_search;
mod bulks;
mod clock;
mod counts;
mod days;
mod delivered;
mod deliveries;
mod feed;
mod health;
mod identities;
mod ingest;
mod ingest_together;
mod key_holders;
mod list;
mod list_page;
mod notifications;
mod operator_events;
mod record;
mod secrets;
mod subscriptions;
mod upkeep;

use std::sync::Arc;

use runtime::Vault;
use runtime::database::{PgPool, Postgres, StoreResult};
use sqlx::PgConnection;

use super::cache::{self, DirectoryCache};
use super::rows::subscription_columns;
use crate::domain::{Directory, Retention};

/// The condition that `n` is a notification of the event `e`: its id keeps the time of the event's
/// key, so those are a narrow range.
macro_rules! of_event {
    () => {
        "n.id >= (left(e.key::text, 13) || '-0000-0000-000000000000')::uuid \
         AND n.id <= (left(e.key::text, 13) || '-ffff-ffff-ffffffffffff')::uuid AND n.event_key = e.key"
    };
}
use of_event;

/// For each `r` the place of its row of `waiting`, where the lease that `r` names still holds. `OFFSET 0`
/// keeps Postgres from making a join of the look for each row, which it could plan otherwise; the
/// subscription makes each index of `waiting` that it may choose one of a single row.
macro_rules! place_under_lease {
    () => {
        "CROSS JOIN LATERAL (
            SELECT ctid AS place FROM waiting
            WHERE id = r.id AND subscription_id = r.subscription AND lease_token = r.token OFFSET 0
        ) n"
    };
}
use place_under_lease;

/// The store behind a pool.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// For what is done for every event.
    steady: PgPool,
    cache: DirectoryCache,
    vault: Arc<Vault>,
    retention: Retention,
}

impl PostgresStore {
    /// The store behind these connections, its schema brought up to date.
    pub async fn migrate(connections: impl Into<Postgres>) -> anyhow::Result<Self> {
        let Postgres { planned: pool, steady } = connections.into();
        pool.migrate(&sqlx::migrate!("../migrations/notifier/postgres")).await?;
        begin_feed_epoch(&pool).await?;
        Ok(Self {
            pool,
            steady,
            cache: DirectoryCache::default(),
            vault: Arc::default(),
            retention: Retention::default(),
        })
    }

    /// The same store for a log that is kept for `retention`; 90 days else.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// The same store with its secrets kept in `vault`; without one they are kept in plain text.
    #[must_use]
    pub fn with_vault(self, vault: Arc<Vault>) -> Self {
        Self { vault, ..self }
    }

    /// The directory as it is now, and a version that it is no older than.
    async fn read_directory(&self) -> StoreResult<(i64, Arc<Directory>)> {
        let mut connection = self.steady.acquire().await?;
        let version: i64 = sqlx::query_scalar("SELECT version FROM subscriptions_version")
            .fetch_one(&mut *connection)
            .await?;
        let directory = self.directory_at(version, &mut connection).await?;
        connection.release();
        Ok((version, directory))
    }

    /// The directory at `version`, which `connection` has read.
    async fn directory_at(&self, version: i64, connection: &mut PgConnection) -> StoreResult<Arc<Directory>> {
        if let Some(directory) = self.cache.at(version) {
            return Ok(directory);
        }
        let subscriptions = sqlx::query_as(concat!(
            "SELECT ",
            subscription_columns!(),
            " FROM subscriptions WHERE deleted_at IS NULL"
        ))
        .fetch_all(&mut *connection)
        .await?;
        let secrets = sqlx::query_as(
            "SELECT k.subscription_id, k.ordinal, k.key_id, k.secret, k.expires_at FROM subscription_secrets k
             JOIN subscriptions s ON s.id = k.subscription_id
             WHERE s.deleted_at IS NULL ORDER BY k.subscription_id, k.ordinal DESC",
        )
        .fetch_all(&mut *connection)
        .await?;
        let directory =
            cache::directory::<chrono::DateTime<chrono::Utc>>(subscriptions, secrets, &self.vault)?;
        self.cache.keep(version, &directory);
        Ok(directory)
    }
}

/// In another cluster than before, which numbers its transactions by itself, what comes is put behind all that is in
/// the feed. A cluster never has that many transactions.
async fn begin_feed_epoch(pool: &PgPool) -> StoreResult<()> {
    sqlx::query(
        "UPDATE feed SET cluster = system_identifier::text, epoch = epoch + (1::bigint << 48)
         FROM pg_control_system() WHERE cluster <> system_identifier::text",
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Announces a change of subscriptions. Always a transaction's first statement, so that those that
/// change something and those that match events wait for each other in one order. The table's lock
/// has a queue, which a row's has not: without it a stream of matching batches that overlap could
/// keep a change waiting for ever.
async fn bump_version(connection: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("LOCK TABLE subscriptions_version IN EXCLUSIVE MODE").execute(&mut *connection).await?;
    sqlx::query("UPDATE subscriptions_version SET version = version + 1").execute(connection).await?;
    Ok(())
}
