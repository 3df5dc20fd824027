//! A transaction on a connection of its own.

use std::ops::{Deref, DerefMut};

use sqlx::{Database, Error, Executor};

use super::lease::Lease;
use super::{StoreError, StoreResult};

/// A transaction that began. It ends by [`Transaction::commit`], [`Transaction::rollback`] or
/// [`Transaction::conclude`]; dropped before, its connection is closed, and the database rolls back.
/// `SQLx`'s own counts the depth of transactions at the client, which is wrong after a `BEGIN` that was
/// given up and after a rollback of `SQLite`'s own accord (a full disk).
pub struct Transaction<DB: Database>(Lease<DB>);

impl<DB: Database> Transaction<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    pub(super) async fn begin(mut lease: Lease<DB>, statement: &'static str) -> Result<Self, Error> {
        (&mut *lease).execute(statement).await?;
        Ok(Self(lease))
    }

    /// Commits. After an error it is unknown whether anything was written.
    pub async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Writes nothing, and keeps the connection.
    pub async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    /// Commits when `done` is `Ok`. A statement that was refused (a constraint, a deadlock, a lock that
    /// is held) has ended, so its transaction is rolled back and the connection kept: a conflict that is
    /// expected costs no new connection. After any other error the connection is closed.
    pub async fn conclude<T>(self, done: StoreResult<T>) -> StoreResult<T> {
        match done {
            Ok(done) => {
                self.commit().await?;
                Ok(done)
            }
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// The same for work that has failed.
    pub async fn fail(self, error: StoreError) -> StoreError {
        if error.is_refusal() {
            // What the caller learns is why the statement failed; else the connection is closed.
            let _ = self.rollback().await;
        }
        error
    }

    async fn end(mut self, statement: &'static str) -> Result<(), Error> {
        (&mut *self.0).execute(statement).await?;
        self.0.release();
        Ok(())
    }
}

impl<DB: Database> Deref for Transaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.0
    }
}

impl<DB: Database> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.0
    }
}
