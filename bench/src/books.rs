//! The services' databases read from outside: when what was committed, and whether it all adds up.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use runtime::database::DatabaseUrl;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

use crate::clock::Micros;

/// One service's database.
pub enum Books {
    /// Tells the exact time of every commit.
    Postgres(PgPool),
    /// Tells only what the service wrote down: the time at which it began to write.
    Sqlite(SqlitePool),
}

const RECHARGES_COMMITTED: [&str; 2] = [
    "SELECT tx_no, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM recharges",
    "SELECT tx_no, settled_at FROM recharges",
];
const CREDITS_COMMITTED: [&str; 2] = [
    "SELECT tx_no, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM credits",
    "SELECT tx_no, credited_at FROM credits",
];
const LAST_ATTEMPT: &str =
    "SELECT (extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) * 1000000)::bigint FROM attempts";

impl Books {
    /// Opens the database at `url`, which is in use by its service.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(match url.parse::<DatabaseUrl>()? {
            DatabaseUrl::Postgres(url) => {
                Self::Postgres(PgPoolOptions::new().max_connections(2).connect(url.expose()).await?)
            }
            DatabaseUrl::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).read_only(true);
                Self::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_with(options).await?)
            }
        })
    }

    /// The one number that `query` asks for.
    pub async fn number(&self, query: &'static str) -> anyhow::Result<i64> {
        let number: Option<i64> = match self {
            Self::Postgres(pool) => sqlx::query_scalar(query).fetch_one(pool).await,
            Self::Sqlite(pool) => sqlx::query_scalar(query).fetch_one(pool).await,
        }
        .with_context(|| query.to_owned())?;
        Ok(number.unwrap_or(0))
    }

    async fn times(&self, [postgres, sqlite]: [&'static str; 2]) -> anyhow::Result<HashMap<Uuid, Micros>> {
        Ok(match self {
            Self::Postgres(pool) => {
                let rows: Vec<(Uuid, i64)> = sqlx::query_as(postgres).fetch_all(pool).await?;
                rows.into_iter().collect()
            }
            Self::Sqlite(pool) => {
                let rows: Vec<(Uuid, i64)> = sqlx::query_as(sqlite).fetch_all(pool).await?;
                rows.into_iter().collect()
            }
        })
    }

    /// When each recharge was committed (pay-service). `SQLite`: when it was settled, before that.
    pub async fn recharges_committed(&self) -> anyhow::Result<HashMap<Uuid, Micros>> {
        self.times(RECHARGES_COMMITTED).await
    }

    /// When each credit was committed (account-service). `SQLite`: when it was taken up, before that.
    pub async fn credits_committed(&self) -> anyhow::Result<HashMap<Uuid, Micros>> {
        self.times(CREDITS_COMMITTED).await
    }

    /// The sum of all balances; with recharges of 1 fen the number of credits.
    pub async fn balances(&self) -> anyhow::Result<usize> {
        let sum = self.number("SELECT CAST(coalesce(sum(balance), 0) AS bigint) FROM accounts").await?;
        Ok(usize::try_from(sum)?)
    }

    /// Each of `count` results is credited once, and the balances say the same (account-service).
    pub async fn check_credits(&self, count: usize) -> anyhow::Result<()> {
        let credits = self.number("SELECT count(*) FROM credits").await?;
        let different = self.number("SELECT count(DISTINCT tx_no) FROM credits").await?;
        let balances = self.balances().await?;
        let right = usize::try_from(credits)? == count && different == credits && balances == count;
        ensure!(
            right,
            "{count} results, but {credits} credits of {different} and {balances} fen on accounts"
        );
        Ok(())
    }

    /// How many notifications are not delivered (notifier).
    pub async fn undelivered(&self) -> anyhow::Result<usize> {
        let waiting = self.number("SELECT count(*) FROM waiting").await?;
        let lost = self.number("SELECT count(*) FROM notifications WHERE state <> 'delivered'").await?;
        Ok(usize::try_from(waiting + lost)?)
    }

    /// All of `count` notifications are there, delivered, each with one attempt in the log (notifier).
    pub async fn check_deliveries(&self, count: usize) -> anyhow::Result<()> {
        let delivered = self.number("SELECT count(*) FROM notifications WHERE state = 'delivered'").await?;
        let undelivered = self.undelivered().await?;
        let attempts = self.number("SELECT count(*) FROM attempts").await?;
        let right = usize::try_from(delivered)? == count && undelivered == 0 && attempts == delivered;
        ensure!(
            right,
            "{count} notifications, but {delivered} delivered, {undelivered} not, {attempts} attempts"
        );
        Ok(())
    }

    /// When the last attempt was committed (notifier). `None` where the database does not tell.
    pub async fn last_attempt_committed(&self) -> anyhow::Result<Option<Micros>> {
        match self {
            Self::Postgres(_) => Ok(Some(self.number(LAST_ATTEMPT).await?)),
            Self::Sqlite(_) => Ok(None),
        }
    }

    /// The pool, where it is Postgres.
    pub fn postgres(&self) -> Option<&PgPool> {
        match self {
            Self::Postgres(pool) => Some(pool),
            Self::Sqlite(_) => None,
        }
    }
}
