//! Why a store could not do what it was asked.

use std::io;
use std::time::Duration;

use super::{outage, trust};
use crate::problem::Problem;
use crate::recurring::Recurring;

static UNAVAILABLE: Recurring = Recurring::new();

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
        if outage::is_of_server(&error) {
            trust::lose();
        }
        if outage::is_outage(&error) { Self::Unavailable(error) } else { Self::Defect(error) }
    }
}

/// The error of a session that can't write although no statement has been refused yet.
#[cfg(feature = "postgres")]
pub(super) fn read_only() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the server takes no writes"))
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
                if let Some(times) = UNAVAILABLE.note(source) {
                    let cause = outage::meaning(source);
                    tracing::warn!(error = %source, cause, times, "database.unavailable");
                }
                Self::unavailable("database", Duration::from_secs(1))
            }
            StoreError::Defect(_) | StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::log::Log;

    /// Digits tell no causes apart, so each test has words of its own.
    fn unreachable(words: &str) -> StoreError {
        StoreError::Unavailable(sqlx::Error::Io(io::Error::other(words.to_owned())))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_that_many_requests_meet_is_one_line_for_some_seconds_and_then_says_how_many() {
        let (log, _guard) = Log::start();
        for _ in 0..1000 {
            assert_eq!(Problem::from(&unreachable("the cable is cut")).status(), 503);
        }
        assert_eq!(Problem::from(&unreachable("the disk is gone")).status(), 503);
        let lines = log.take();
        assert_eq!(lines.len(), 2, "a line for each cause: {lines:?}");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(Problem::from(&unreachable("the cable is cut")).status(), 503);
        let [line] = &log.take()[..] else { panic!("one line") };
        assert!(line.contains("database.unavailable") && line.contains("times=1000"), "{line}");
    }
}
