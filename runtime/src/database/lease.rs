//! A connection in use.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Database;
use sqlx::pool::PoolConnection;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::usage::Usage;

/// A connection that a caller uses. It serves again only after [`Lease::release`], which says that
/// the last statement has ended. Dropped without it (an error, a time limit, a client that
/// disconnected, a shutdown), the connection is closed: a statement may still be under way on it,
/// such as a `BEGIN` that would swallow what the next caller writes.
pub struct Lease<DB: Database> {
    connection: PoolConnection<DB>,
    usage: Arc<Usage>,
    return_limit: Duration,
    released: bool,
}

impl<DB: Database> Lease<DB> {
    pub(super) fn new(connection: PoolConnection<DB>, usage: Arc<Usage>, return_limit: Duration) -> Self {
        usage.began();
        Self { connection, usage, return_limit, released: false }
    }

    /// Gives the connection back: its last statement has ended, and no transaction is open.
    pub fn release(mut self) {
        self.released = true;
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        self.usage.ended(self.released);
        if !self.released {
            // SQLx gives a graceful end five seconds, then frees the slot.
            self.connection.close_on_drop();
        } else if let Ok(runtime) = Handle::try_current() {
            let (returning, limit) = (self.connection.return_to_pool(), self.return_limit);
            runtime.spawn(async move {
                if timeout(limit, returning).await.is_err() {
                    tracing::warn!("database.connection_silent");
                }
            });
        }
    }
}

impl<DB: Database> Deref for Lease<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}
