//! A transaction on a connection of its own.

use std::ops::{Deref, DerefMut};

use sqlx::{Database, Error, Executor};

use super::lease::Lease;

/// A transaction that began. It ends by [`Transaction::commit`] or [`Transaction::rollback`]; dropped
/// before, its connection is closed, and the database rolls back. `SQLx`'s own counts the depth of
/// transactions at the client, which is wrong after a `BEGIN` that was given up and after a rollback
/// of `SQLite`'s own accord (a full disk).
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
