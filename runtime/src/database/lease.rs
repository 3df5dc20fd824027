//! A connection in use.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Error};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::pool::Limits;
use super::usage::Usage;

/// A connection that a caller uses. It serves again only after [`Lease::release`], which says that
/// the last statement has ended. Dropped without it (an error, a time limit, a client that
/// disconnected, a shutdown), the connection is closed: a statement may still be under way on it,
/// such as a `BEGIN` that would swallow what the next caller writes.
///
/// The slot in the pool of a statement that goes on stays taken for a while, so that callers that give
/// up again and again do not fill the server with statements that nobody waits for.
pub struct Lease<DB: Database> {
    /// Taken when the lease ends.
    connection: Option<PoolConnection<DB>>,
    usage: Arc<Usage>,
    limits: Limits,
}

const TAKEN: &str = "a lease has its connection until it ends";

impl<DB: Database> Lease<DB> {
    pub(super) fn new(connection: PoolConnection<DB>, usage: Arc<Usage>, limits: Limits) -> Self {
        usage.began();
        Self { connection: Some(connection), usage, limits }
    }

    /// Gives the connection back: its last statement has ended, and no transaction is open.
    pub fn release(mut self) {
        let mut connection = self.connection.take().expect(TAKEN);
        self.usage.ended();
        if let Ok(runtime) = Handle::try_current() {
            let (returning, limit) = (connection.return_to_pool(), self.limits.returning);
            runtime.spawn(async move {
                if timeout(limit, returning).await.is_err() {
                    tracing::warn!("database.connection_silent");
                }
            });
        }
    }

    /// Ends the connection in order: its last statement has ended, but the session is not as others expect it.
    pub(super) async fn close(mut self) -> Result<(), Error> {
        let connection = self.connection.take().expect(TAKEN);
        self.usage.ended();
        connection.close().await
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        self.usage.gave_up();
        connection.close_on_drop();
        let Ok(runtime) = Handle::try_current() else { return self.usage.ended() };
        let (usage, limit) = (Arc::clone(&self.usage), self.limits.ending);
        runtime.spawn(async move {
            // Answered when the statement has ended, whatever came of it.
            let _ = timeout(limit, connection.ping()).await;
            usage.ended();
            // SQLx gives a graceful end five seconds, then frees the slot.
            drop(connection);
        });
    }
}

impl<DB: Database> Deref for Lease<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect(TAKEN)
    }
}

impl<DB: Database> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect(TAKEN)
    }
}
