//! Who uses a pool's connections, and why a caller got none.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Database, Error};
use tokio::time::{Instant, sleep_until, timeout};

use super::no_connection::{Cause, NoConnection};

/// How long a connection may take to be made before the server counts as silent.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How often a connection is tried while callers wait.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The longest pause between two tries of a server that has no connections left, which is not to be
/// asked for yet another one. It starts at [`TRY_EVERY`] and doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// What a pool counts of itself.
#[derive(Debug)]
pub(super) struct Usage {
    most: usize,
    in_use: AtomicUsize,
    given_up: AtomicUsize,
    /// Why the last attempt to connect failed.
    cause: Mutex<Cause>,
    /// One caller at a time finds out.
    watching: tokio::sync::Mutex<Pause>,
}

/// When a connection is tried next.
#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Pause {
    const fn none() -> Self {
        Self { length: TRY_EVERY, until: None }
    }

    /// After a try that came to `cause`.
    fn follow(&mut self, cause: &Cause) {
        self.length = if cause.is_exhaustion() { (self.length * 2).min(LONGEST_PAUSE) } else { TRY_EVERY };
        self.until = Some(Instant::now() + self.length);
    }
}

impl Usage {
    pub(super) fn of(most: u32) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            in_use: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
            cause: Mutex::new(Cause::Silent),
            watching: tokio::sync::Mutex::new(Pause::none()),
        }
    }

    pub(super) fn began(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }

    /// Its connection is in use until the statement has ended.
    pub(super) fn gave_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
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
    watch_by(usage, || try_to_connect(pool.clone())).await
}

async fn watch_by<F>(usage: &Usage, attempt: impl Fn() -> F) -> Infallible
where
    F: Future<Output = Cause>,
{
    let mut pause = usage.watching.lock().await;
    loop {
        if let Some(until) = pause.until {
            sleep_until(until).await;
        }
        if usage.in_use() < usage.most {
            let cause = attempt().await;
            pause.follow(&cause);
            usage.note(cause);
        } else {
            pause.until = Some(Instant::now() + TRY_EVERY);
        }
    }
}

async fn try_to_connect<DB: Database>(pool: sqlx::Pool<DB>) -> Cause {
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

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;
    use std::fmt;
    use std::future::ready;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// An error that a server answers with.
    #[derive(Debug)]
    struct Answer(&'static str);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Answer {}

    impl DatabaseError for Answer {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    /// How many connections are tried in a minute in which callers wait 5 s each.
    async fn tries_in_a_minute(code: &'static str) -> usize {
        let (usage, tries) = (Usage::of(4), AtomicUsize::new(0));
        let attempt = || {
            tries.fetch_add(1, Ordering::Relaxed);
            ready(Cause::Refused(Arc::new(Error::Database(Box::new(Answer(code))))))
        };
        for _ in 0..12 {
            let _ = timeout(Duration::from_secs(5), watch_by(&usage, attempt)).await;
        }
        tries.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_connections_left_is_tried_ever_more_rarely() {
        assert!(tries_in_a_minute("53300").await <= 7);
        assert!(tries_in_a_minute("28P01").await >= 55, "another cause is found within a second");
    }
}
