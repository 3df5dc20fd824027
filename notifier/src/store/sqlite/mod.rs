//! The store in one `SQLite` file. A batch is a loop inside one transaction: in-process, a statement
//! is cheap, and there is one writer at a time.

mod audits;
mod backlog;
mod bulk_search;
mod bulks;
mod clock;
mod counts;
mod delivered;
mod deliveries;
mod feed;
mod health;
mod identities;
mod ingest;
mod list;
mod list_page;
mod moves;
mod notifications;
mod operator_events;
mod record;
mod secrets;
mod subscriptions;
mod upkeep;

use std::sync::Arc;

use runtime::Vault;
use runtime::database::{Sqlite, SqliteTransaction, StoreResult};
use sqlx::SqliteConnection;

use super::cache::{self, DirectoryCache};
use super::rows::subscription_columns;
use crate::domain::{Directory, Retention};

/// The store in a database file.
#[derive(Debug)]
pub struct SqliteStore {
    db: Sqlite,
    cache: DirectoryCache,
    vault: Arc<Vault>,
    retention: Retention,
}

impl SqliteStore {
    /// The store in `db`, its schema brought up to date.
    pub async fn migrate(db: Sqlite) -> anyhow::Result<Self> {
        db.writer.migrate(&sqlx::migrate!("../migrations/notifier/sqlite")).await?;
        Ok(Self {
            db,
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

    async fn begin(&self) -> StoreResult<SqliteTransaction> {
        Ok(self.db.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The directory as `connection` sees it.
    async fn directory_of(&self, connection: &mut SqliteConnection) -> StoreResult<Arc<Directory>> {
        let version: i64 = sqlx::query_scalar("SELECT version FROM subscriptions_version")
            .fetch_one(&mut *connection)
            .await?;
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
        let directory = cache::directory::<i64>(subscriptions, secrets, &self.vault)?;
        self.cache.keep(version, &directory);
        Ok(directory)
    }
}

/// Announces a change of subscriptions.
async fn bump_version(connection: &mut SqliteConnection) -> StoreResult<()> {
    sqlx::query("UPDATE subscriptions_version SET version = version + 1").execute(connection).await?;
    Ok(())
}
