//! Bringing a schema up to date.

use sqlx::migrate::{MigrateError, Migrator};

use super::SqlitePool;
#[cfg(feature = "postgres")]
use super::{PgPool, session};

#[cfg(feature = "postgres")]
impl PgPool {
    /// Brings the schema up to date. It may take as long as it takes, and waits for another process that
    /// does the same, so its session has no limits; it serves nothing else afterwards.
    ///
    /// # Errors
    /// When a migration fails, or the database holds one that this program does not know.
    pub async fn migrate(&self, migrations: &Migrator) -> Result<(), MigrateError> {
        // Large futures, which would make those of all who migrate as large.
        let mut lease = Box::pin(self.acquire()).await?;
        session::lift_limits(&mut lease).await?;
        Box::pin(migrations.run_direct(None, &mut *lease, false)).await?;
        Ok(lease.close().await?)
    }
}

impl SqlitePool {
    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When a migration fails, or the database holds one that this program does not know.
    pub async fn migrate(&self, migrations: &Migrator) -> Result<(), MigrateError> {
        migrations.run(&self.connections).await
    }

    /// The same within one transaction. It is `SQLx`'s own: migrations begin a savepoint in it each.
    ///
    /// # Errors
    /// As [`SqlitePool::migrate`].
    pub async fn migrate_within(
        &self,
        begin: &'static str,
        migrations: &Migrator,
    ) -> Result<(), MigrateError> {
        let mut transaction = self.connections.begin_with(begin).await?;
        migrations.run_direct(None, &mut *transaction, false).await?;
        Ok(transaction.commit().await?)
    }
}
