//! What the error codes of the databases mean: the one place that tells an outage from a defect.
//! `docs/failover.md` shows the same table.

use std::io::ErrorKind;

use sqlx::error::DatabaseError;
#[cfg(feature = "postgres")]
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// Error codes that mean an outage: the caller gets a 503 and nothing is given up.
pub(super) struct Class {
    /// A SQLSTATE, or the beginning that a class of them shares. `SQLite`: a primary result code.
    code: &'static str,
    /// Whether it also holds for the other connections made so far.
    scope: Scope,
    /// For operators.
    means: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The statement or its connection.
    Session,
    /// The server: it is gone, or it takes no writes any more.
    Server,
}

const fn session(code: &'static str, means: &'static str) -> Class {
    Class { code, scope: Scope::Session, means }
}

const fn server(code: &'static str, means: &'static str) -> Class {
    Class { code, scope: Scope::Server, means }
}

#[cfg(feature = "postgres")]
const POSTGRES: [Class; 14] = [
    server("08", "the connection is lost or was refused"),
    server("25006", "the server is read-only: a standby, a demoted server, or an administrator's guard"),
    session("25P03", "the server ended a transaction that was idle for too long"),
    session("25P04", "the server ended a transaction that took too long"),
    session("28", "the server refuses the login"),
    session("3D000", "the server has no such database"),
    session("40", "rolled back by a deadlock or a serialization conflict"),
    session("53", "the server has no disk space, memory or connections left"),
    session("55", "an object or the server is not in the state that the statement needs, such as locked"),
    server("57P01", "an administrator shuts the server down or ends its sessions"),
    server("57P02", "a process of the server crashed"),
    server("57P03", "the server starts, stops or recovers"),
    session("57", "an operator or a time limit cancelled the statement, or ended the session"),
    session("58", "the system below the server failed, such as its disk"),
];

const SQLITE: [Class; 8] = [
    session("5", "BUSY: another process holds the file"),
    session("6", "LOCKED: another connection of this process holds a table"),
    session("7", "NOMEM: no memory is left"),
    session("8", "READONLY: the file or its folder can't be written"),
    session("10", "IOERR: the disk failed"),
    session("13", "FULL: the disk is full"),
    session("14", "CANTOPEN: the file or its folder can't be opened"),
    session("15", "PROTOCOL: another process holds the file's locks"),
];

/// The class of an error that a database answered with, when it means an outage.
fn class(error: &dyn DatabaseError) -> Option<&'static Class> {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return POSTGRES.iter().find(|class| error.code().starts_with(class.code));
    }
    let code: u32 = error.try_downcast_ref::<SqliteError>()?.code()?.parse().ok()?;
    let primary = (code & 0xFF).to_string();
    SQLITE.iter().find(|class| class.code == primary)
}

/// Whether the database can't work just now. Everything else is a defect of a statement, a row or
/// a constraint.
pub(super) fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => class(&**error).is_some(),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Configuration(_) // a connection's certificate or key file
        | sqlx::Error::BeginFailed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Whether the connections made before this error lead to a server that is gone or takes no writes.
pub(super) fn is_of_server(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => class(&**error).is_some_and(|class| class.scope == Scope::Server),
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::ReadOnlyFilesystem
        ),
        _ => false,
    }
}

/// What an outage's error means, where the table says more than the error itself.
pub(super) fn meaning(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(error) => class(&**error).map_or("", |class| class.means),
        sqlx::Error::Io(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => "",
        _ => "the server can't be reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/failover.md");

    #[test]
    fn the_page_on_failover_shows_the_same_tables() {
        for class in POSTGRES.iter().chain(&SQLITE) {
            let row = format!("| `{}` | {} |", class.code, class.means);
            assert!(PAGE.contains(&row), "docs/failover.md lacks: {row}");
        }
    }

    #[test]
    fn a_connection_that_broke_says_something_about_its_siblings_and_a_slow_one_does_not() {
        for (kind, of_server) in [(ErrorKind::ConnectionReset, true), (ErrorKind::TimedOut, false)] {
            let error = sqlx::Error::Io(kind.into());
            assert!(is_outage(&error), "{kind}");
            assert_eq!(is_of_server(&error), of_server, "{kind}");
        }
        assert!(!is_outage(&sqlx::Error::RowNotFound));
    }
}
