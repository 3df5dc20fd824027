//! Why a caller got no connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Error;

use super::outage;

/// No connection came in time.
#[derive(Debug)]
pub(super) struct NoConnection {
    pub(super) limit: Duration,
    pub(super) cause: Cause,
}

/// What is behind it.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// Callers hold all of them.
    AllInUse(usize),
    /// Neither an answer nor a refusal.
    Silent,
    /// An attempt to connect failed.
    Refused(Arc<Error>),
}

impl Cause {
    /// The server has no connections, memory or disk space left (SQLSTATE 53).
    pub(super) fn is_exhaustion(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code.len() == 5 && code.starts_with("53"))
    }
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection within {:?}: ", self.limit)?;
        match &self.cause {
            Cause::AllInUse(most) => write!(f, "all {most} connections are in use"),
            Cause::Silent => f.write_str("the server does not answer"),
            Cause::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoConnection {}

impl From<NoConnection> for Error {
    fn from(error: NoConnection) -> Self {
        Self::Io(io::Error::new(io::ErrorKind::TimedOut, error))
    }
}

/// What kind of outage `error` is, in words that hold no address, name or secret: for `/readyz`,
/// which needs no key. `None` when it is no outage of a database.
pub fn outage_class(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return class(error);
        }
        next = error.source();
    }
    None
}

fn class(error: &Error) -> Option<&'static str> {
    match error {
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<NoConnection>()) {
            Some(NoConnection { cause: Cause::AllInUse(_), .. }) => Some("all connections are in use"),
            Some(NoConnection { cause: Cause::Silent, .. }) => Some("the server does not answer"),
            Some(NoConnection { cause: Cause::Refused(error), .. }) => class(error),
            None => Some(io_class(error.kind())),
        },
        Error::Tls(_) => Some("no TLS connection"),
        Error::Database(_) => Some(outage::meaning(error)).filter(|meaning| !meaning.is_empty()),
        _ => None,
    }
}

fn io_class(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::TimedOut => "the server does not answer",
        io::ErrorKind::ReadOnlyFilesystem => "the server takes no writes",
        _ => "connection lost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::StoreError;

    #[test]
    fn the_cause_is_named_in_the_error_and_its_class_alone_in_the_readiness() {
        let refused = Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, "10.0.0.1 refused"));
        let limit = Duration::from_secs(5);
        for (cause, text, kind) in [
            (Cause::AllInUse(5), "all 5 connections are in use", "all connections are in use"),
            (Cause::Silent, "the server does not answer", "the server does not answer"),
            (Cause::Refused(Arc::new(refused)), "10.0.0.1 refused", "connection refused"),
        ] {
            let error = Error::from(NoConnection { limit, cause });
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.to_string().contains("within 5s"), "{error}");
            assert_eq!(outage_class(&StoreError::Unavailable(error)), Some(kind));
        }
        assert_eq!(outage_class(&StoreError::Corrupt("a row".to_owned())), None);
    }
}
