//! Why a store could not do what it was asked.

use std::time::Duration;

use crate::problem::Problem;

/// A store's failure. What a caller did wrong is never one: stores answer that in their results.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or refused to work just now. Whether anything was written is
    /// unknown; every use case can be repeated.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// A defect: a statement, a row or a constraint that is not as the program expects.
    #[error("the database answered with an error")]
    Defect(#[source] sqlx::Error),
    /// A stored value that no version of the program writes.
    #[error("a stored value can't be read: {0}")]
    Corrupt(String),
}

/// What every store method answers.
pub type StoreResult<T> = Result<T, StoreError>;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) { Self::Unavailable(error) } else { Self::Defect(error) }
    }
}

/// `PostgreSQL`'s classes 08 (connection), 53 (resources), 57 (operator intervention), 40 (rolled
/// back by a deadlock or serialization conflict); `SQLite`'s BUSY (5), IOERR (10), FULL (13).
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| match code.parse::<u32>() {
            Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xFF, 5 | 10 | 13),
            _ => ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class)),
        }),
        _ => false,
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

/// For an error that several callers of one batch share.
impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(source) => {
                tracing::warn!(error = %source, "database.unavailable");
                Self::unavailable("database", Duration::from_secs(1))
            }
            StoreError::Defect(_) | StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}
