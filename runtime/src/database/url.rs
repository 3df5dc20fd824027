//! Which database: `postgres://…` or `sqlite://FILE`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(feature = "postgres")]
use super::PostgresUrl;
use crate::authorities::Authorities;

/// A database address. The password of a Postgres URL is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// One server, or several of which one takes writes.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
    /// The database file; made when missing.
    Sqlite(PathBuf),
}

/// Why a text is no database address. Never shows the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDatabaseUrl {
    /// Neither Postgres nor `SQLite`.
    #[error("must be postgres://… or sqlite://FILE")]
    UnknownScheme,
    /// The program was built without the feature `postgres`.
    #[cfg(not(feature = "postgres"))]
    #[error(
        "this program was built without Postgres; build it with `--features postgres`, or use sqlite://FILE"
    )]
    NotBuilt,
    /// What is wrong with it.
    #[error("{0}")]
    Refused(String),
}

impl BadDatabaseUrl {
    /// A name that no parameter has may be a piece of a password with a `?` in it.
    pub(super) fn unknown_parameter(name: &str) -> Self {
        let is_name =
            name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte));
        Self::Refused(if is_name && !name.is_empty() {
            format!("unknown parameter `{name}`")
        } else {
            "has a parameter without a known name; a `?` or `&` in the password is written %3F or %26"
                .to_owned()
        })
    }
}

impl DatabaseUrl {
    /// The same database, whose server's certificate must be signed by one of `authorities`. A file
    /// has no server: nothing changes.
    pub fn trusting(self, authorities: Option<Authorities>) -> Result<Self, BadDatabaseUrl> {
        match (self, authorities) {
            #[cfg(feature = "postgres")]
            (Self::Postgres(url), Some(authorities)) => url.trusting(authorities).map(Self::Postgres),
            (url, _) => Ok(url),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = BadDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, BadDatabaseUrl> {
        match text.split_once("://") {
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => text.parse().map(Self::Postgres),
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Err(BadDatabaseUrl::NotBuilt),
            Some(("sqlite", file)) if file.contains('?') => {
                Err(BadDatabaseUrl::Refused("sqlite://FILE takes no parameters".to_owned()))
            }
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            _ => Err(BadDatabaseUrl::UnknownScheme),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => f.write_str(&url.shown()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_is_refused_and_a_password_is_not_printed() {
        for text in ["mysql://localhost/x", "postgres", "sqlite://", ""] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(BadDatabaseUrl::UnknownScheme), "{text}");
        }
        let url: DatabaseUrl = "postgres://pay:hush@db:5432/pay".parse().expect("valid");
        assert_eq!(format!("{url:?}"), "postgres://db/pay");
    }
}
