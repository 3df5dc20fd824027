//! Connections to one database. No connection whose statement was given up serves again.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::{Database, Either, Error, Execute, Executor, SqlStr};
use tokio::time::timeout;

use super::lease::Lease;
use super::refusal::is_refusal;
use super::transaction::Transaction;
use super::usage::{self, Usage};

/// How long a readiness check waits for its connection: less than `/readyz` waits for the check.
const CHECK_LIMIT: Duration = Duration::from_millis(1500);

/// A caller that waits this long for its connection finds out why.
const WAITS_LONG: Duration = Duration::from_millis(500);

/// How long each step of a connection's use may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The wait for a connection.
    pub(super) acquire: Duration,
    /// One statement outside a transaction, with the wait for its connection. Longer than a healthy
    /// database ever takes, shorter than a request may take.
    pub(super) statement: Duration,
    /// The answer of a connection that is given back, that it is ready for the next caller. `SQLx`
    /// waits for it without a limit, and a half-open connection would keep its slot for ever.
    pub(super) returning: Duration,
    /// How long a statement that was given up keeps its slot while it goes on. So a pool of N connections
    /// leaves at most 3 N sessions on a server that ends one 5 s after its client is gone (`session.rs`).
    pub(super) ending: Duration,
}

/// Connections to Postgres.
#[cfg(feature = "postgres")]
pub type PgPool = Pool<sqlx::Postgres>;
/// Connections to a `SQLite` file.
pub type SqlitePool = Pool<sqlx::Sqlite>;
/// A transaction in Postgres.
#[cfg(feature = "postgres")]
pub type PgTransaction = Transaction<sqlx::Postgres>;
/// A transaction in `SQLite`.
pub type SqliteTransaction = Transaction<sqlx::Sqlite>;

/// Connections that callers share. `&Pool` executes a single statement, which is its own transaction.
pub struct Pool<DB: Database> {
    pub(super) connections: sqlx::Pool<DB>,
    usage: Arc<Usage>,
    pub(super) limits: Limits,
}

impl<DB: Database> From<sqlx::Pool<DB>> for Pool<DB> {
    fn from(connections: sqlx::Pool<DB>) -> Self {
        let options = connections.options();
        let usage = Arc::new(Usage::of(options.get_max_connections()));
        let limits = Limits {
            acquire: options.get_acquire_timeout(),
            statement: Duration::from_secs(20),
            returning: Duration::from_secs(5),
            ending: Duration::from_secs(3),
        };
        Self { connections, usage, limits }
    }
}

impl<DB: Database> Pool<DB> {
    /// A connection for several statements. Release it when the last has ended.
    ///
    /// # Errors
    /// When no connection is free or can be made in time; the error says why.
    pub async fn acquire(&self) -> Result<Lease<DB>, Error> {
        let mut acquiring = pin!(timeout(self.limits.acquire, self.connections.acquire()));
        let acquired = if let Ok(soon) = timeout(WAITS_LONG, &mut acquiring).await {
            soon
        } else {
            tokio::select! {
                late = &mut acquiring => late,
                never = usage::watch(&self.usage, &self.connections) => match never {},
            }
        };
        match acquired {
            Ok(Err(Error::PoolTimedOut)) | Err(_) => Err(self.usage.why(self.limits.acquire)),
            Ok(Err(error)) => Err(error),
            Ok(Ok(connection)) => Ok(Lease::new(connection, Arc::clone(&self.usage), self.limits)),
        }
    }

    /// The same connections for a readiness check, which does not wait for one as long.
    #[must_use]
    pub fn for_checks(&self) -> Self {
        Self { limits: Limits { acquire: CHECK_LIMIT, ..self.limits }, ..self.clone() }
    }

    /// Closes all connections, as before the file is opened again.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    /// How many connections are in use, or being made, returned or closed.
    pub fn busy(&self) -> usize {
        (self.connections.size() as usize).saturating_sub(self.connections.num_idle())
    }

    /// How many connections were closed because their statement was given up or failed.
    pub fn given_up(&self) -> usize {
        self.usage.given_up()
    }
}

impl<DB: Database> Pool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    /// Begins a transaction.
    ///
    /// # Errors
    /// As [`Pool::acquire`], and when the database refuses.
    pub async fn begin(&self) -> Result<Transaction<DB>, Error> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction with `statement`, such as `BEGIN IMMEDIATE`.
    ///
    /// # Errors
    /// As [`Pool::acquire`], and when the database refuses.
    pub async fn begin_with(&self, statement: &'static str) -> Result<Transaction<DB>, Error> {
        Transaction::begin(self.acquire().await?, statement).await
    }

    /// Runs one statement to its end: its own transaction is committed when this returns.
    async fn run<'q, E>(self, query: E) -> Result<Vec<Either<DB::QueryResult, DB::Row>>, Error>
    where
        E: 'q + Execute<'q, DB>,
    {
        let work = async {
            let mut lease = self.acquire().await?;
            let answer = lease.fetch_many(query).try_collect().await;
            if answer.as_ref().map_or_else(is_refusal, |_| true) {
                lease.release();
            }
            answer
        };
        let limit = self.limits.statement;
        timeout(limit, work).await.unwrap_or_else(|_| Err(usage::silent(limit)))
    }
}

impl<'p, DB: Database> Executor<'p> for &'_ Pool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let answer = self.clone().run(query);
        stream::once(answer).map_ok(|all| stream::iter(all).map(Ok)).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let answer = self.clone().run(query);
        Box::pin(async move { Ok(answer.await?.into_iter().find_map(Either::right)) })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut lease = pool.acquire().await?;
            let statement = lease.prepare_with(sql, parameters).await?;
            lease.release();
            Ok(statement)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<DB>, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut lease = pool.acquire().await?;
            let description = lease.describe(sql).await?;
            lease.release();
            Ok(description)
        })
    }
}

impl<DB: Database> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self { connections: self.connections.clone(), usage: Arc::clone(&self.usage), limits: self.limits }
    }
}

impl<DB: Database> fmt::Debug for Pool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("database", &DB::NAME).finish_non_exhaustive()
    }
}
