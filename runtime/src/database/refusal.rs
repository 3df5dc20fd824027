//! Errors after which a connection may serve on.

use sqlx::Error;

use super::StoreError;

/// `PostgreSQL`'s classes 22 (data), 23 (constraints) and 40 (rolled back, as by a deadlock), and a
/// lock that was not to be had in time.
const POSTGRES: [&str; 4] = ["22", "23", "40", "55P03"];
/// `SQLite`'s BUSY and CONSTRAINT.
const SQLITE: [u32; 2] = [5, 19];

/// Whether the statement ended, refused for its data or for what others hold. After any other error
/// the connection is closed, so that a pool leaves by itself a server that is shutting down or became
/// read-only.
pub(super) fn is_refusal(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    error.code().is_some_and(|code| match code.parse::<u32>() {
        Ok(sqlite) if code.len() < 5 => SQLITE.contains(&(sqlite & 0xFF)),
        _ => POSTGRES.iter().any(|class| code.starts_with(class)),
    })
}

impl StoreError {
    /// As [`is_refusal`].
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Unavailable(error) | Self::Defect(error) if is_refusal(error))
    }
}
