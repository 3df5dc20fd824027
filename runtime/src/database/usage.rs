//! Who uses a pool's connections, and why a caller got none.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Database, Error};
use tokio::time::{sleep, timeout};

use super::no_connection::{Cause, NoConnection};

/// How long a connection may take to be made before the server counts as silent.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How often a connection is tried while callers wait.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What a pool counts of itself.
#[derive(Debug)]
pub(super) struct Usage {
    most: usize,
    in_use: AtomicUsize,
    given_up: AtomicUsize,
    /// Why the last attempt to connect failed.
    cause: Mutex<Cause>,
    /// One caller at a time finds out.
    watching: tokio::sync::Mutex<()>,
}

impl Usage {
    pub(super) fn of(most: u32) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            in_use: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            cause: Mutex::new(Cause::Silent),
            watching: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn began(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, released: bool) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        if !released {
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    pub(super) fn given_up(&self) -> usize {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Why no connection came within `limit`.
    pub(super) fn why(&self, limit: Duration) -> Error {
        let cause = if self.in_use() >= self.most {
            Cause::AllInUse(self.most)
        } else {
            self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        NoConnection { limit, cause }.into()
    }

    fn note(&self, cause: Cause) {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

/// Tries to connect as long as the caller waits: the pool retries a refused connection without
/// saying so, and then only says that it timed out.
pub(super) async fn watch<DB: Database>(usage: &Arc<Usage>, pool: &sqlx::Pool<DB>) -> Infallible {
    let _alone = usage.watching.lock().await;
    loop {
        if usage.in_use() < usage.most {
            usage.note(try_to_connect(pool).await);
        }
        sleep(TRY_EVERY).await;
    }
}

async fn try_to_connect<DB: Database>(pool: &sqlx::Pool<DB>) -> Cause {
    match timeout(CONNECT_LIMIT, pool.connect_options().connect()).await {
        Ok(Err(error)) => Cause::Refused(Arc::new(error)),
        // Made in the meantime: whoever still waits does so for a server that is slow.
        Ok(Ok(connection)) => {
            let _ = timeout(CONNECT_LIMIT, connection.close()).await;
            Cause::Silent
        }
        Err(_) => Cause::Silent,
    }
}

/// The error of a statement that was not answered within `limit`.
pub(super) fn silent(limit: Duration) -> Error {
    let message = format!("no answer within {} s", limit.as_secs());
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}
