//! A database of either kind, which a test can break and mend.
#![allow(dead_code, reason = "each backend's tests open only their own kind")]

use std::sync::Arc;
use std::time::Duration;

use account_service::store::{PostgresStore, SqliteStore, Store};
use runtime::database::{Postgres, Sqlite};
use runtime::testing::{temporary_postgres, temporary_sqlite};
use sqlx::AssertSqlSafe;
use sqlx::migrate::Migrator;

pub enum Database {
    /// With the folder it lives in, which goes when this is dropped.
    Sqlite(Sqlite, Option<tempfile::TempDir>),
    Postgres(Postgres),
}

impl Database {
    pub async fn sqlite() -> Self {
        let (database, folder) = temporary_sqlite().await;
        Self::Sqlite(database, Some(folder))
    }

    pub async fn postgres() -> Self {
        Self::Postgres(temporary_postgres().await.into())
    }

    /// The store on it, migrated.
    pub async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(database, _) => {
                Arc::new(SqliteStore::migrated(database.clone()).await.expect("migrates"))
            }
            Self::Postgres(connections) => {
                Arc::new(PostgresStore::migrated(connections.clone()).await.expect("migrates"))
            }
        }
    }

    /// Its schema as the version left it whose last migration this was.
    pub async fn migrate_to(&self, last: i64) {
        let up_to = |mut all: Migrator| {
            all.migrations = all.iter().filter(|migration| migration.version <= last).cloned().collect();
            all
        };
        match self {
            Self::Sqlite(database, _) => {
                let all = sqlx::migrate!("../migrations/account-service/sqlite");
                database.writer.migrate(&up_to(all)).await
            }
            Self::Postgres(connections) => {
                let all = sqlx::migrate!("../migrations/account-service/postgres");
                connections.planned.migrate(&up_to(all)).await
            }
        }
        .expect("migrates");
    }

    /// A time as a literal of its SQL.
    pub fn some_time(&self) -> &'static str {
        match self {
            Self::Sqlite(..) => "1767225600000000",
            Self::Postgres(_) => "now()",
        }
    }

    /// The same database, for somebody else to look at.
    pub fn shared(&self) -> Self {
        match self {
            Self::Sqlite(database, _) => Self::Sqlite(database.clone(), None),
            Self::Postgres(connections) => Self::Postgres(connections.clone()),
        }
    }

    /// Whether nobody holds a connection (one that writes, on `SQLite`), or keeps one for long: they go
    /// back to the pool a moment after their use.
    pub async fn is_left_alone(&self) -> bool {
        for _ in 0..100 {
            let held = match self {
                Self::Sqlite(database, _) => database.writer.busy(),
                Self::Postgres(Postgres { planned, steady }) => planned.busy() + steady.busy(),
            };
            if held == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(database, _) => sqlx::raw_sql(sql).execute(&database.writer).await.map(|_| ()),
            Self::Postgres(connections) => sqlx::raw_sql(sql).execute(&connections.planned).await.map(|_| ()),
        }
        .expect("the statement runs");
    }

    /// Whether the database itself refuses this, and so changes nothing.
    pub async fn refuses(&self, sql: &str) -> bool {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(database, _) => sqlx::raw_sql(sql).execute(&database.writer).await.is_err(),
            Self::Postgres(connections) => sqlx::raw_sql(sql).execute(&connections.planned).await.is_err(),
        }
    }

    /// A uuid as a literal of its SQL.
    pub fn uuid(&self, id: uuid::Uuid) -> String {
        match self {
            Self::Sqlite(..) => format!("x'{}'", id.simple()),
            Self::Postgres(_) => format!("'{id}'::uuid"),
        }
    }

    /// Sets a balance as nobody should: past the credits.
    pub async fn falsify_balance(&self, account_no: &str, balance: i64) {
        let update = format!("UPDATE accounts SET balance = {balance} WHERE account_no LIKE '{account_no}'");
        let trigger = |what| format!("ALTER TABLE accounts {what} TRIGGER balances_follow_credits");
        match self {
            Self::Sqlite(..) => self.execute(&update).await,
            Self::Postgres(_) => {
                self.execute(&format!("{}; {update}; {}", trigger("DISABLE"), trigger("ENABLE"))).await;
            }
        }
    }

    /// The one number that `sql` selects.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(database, _) => sqlx::query_scalar(sql).fetch_one(&database.reader).await,
            Self::Postgres(connections) => sqlx::query_scalar(sql).fetch_one(&connections.planned).await,
        }
        .expect("the query runs")
    }

    /// Accounts, Σ balances, credits, Σ credits, requests: what must not change when nothing may.
    pub async fn totals(&self) -> [i64; 5] {
        [
            self.number("SELECT count(*) FROM accounts").await,
            self.number("SELECT CAST(coalesce(sum(balance), 0) AS bigint) FROM accounts").await,
            self.number("SELECT count(*) FROM credits").await,
            self.number("SELECT CAST(coalesce(sum(amount), 0) AS bigint) FROM credits").await,
            self.number("SELECT count(*) FROM requests").await,
        ]
    }

    /// Makes every `event` (such as `UPDATE`) on `table` fail after it was done, until mended.
    pub async fn break_table(&self, event: &str, table: &str) {
        self.break_rows(event, table, "true").await;
    }

    /// The same for rows of which `condition` holds.
    pub async fn break_rows(&self, event: &str, table: &str, condition: &str) {
        match self {
            Self::Sqlite(..) => {
                self.execute(&format!(
                    "CREATE TRIGGER broken AFTER {event} ON {table} WHEN {condition}
                     BEGIN SELECT RAISE(ABORT, 'broken'); END"
                ))
                .await;
            }
            Self::Postgres(_) => {
                self.execute(&format!(
                    "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql
                         AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
                     CREATE TRIGGER broken AFTER {event} ON {table} FOR EACH ROW WHEN ({condition})
                         EXECUTE FUNCTION broken()"
                ))
                .await;
            }
        }
    }

    pub async fn mend_table(&self, table: &str) {
        match self {
            Self::Sqlite(..) => self.execute("DROP TRIGGER broken").await,
            Self::Postgres(_) => self.execute(&format!("DROP TRIGGER broken ON {table}")).await,
        }
    }
}
