//! Which database: `postgres://…` or `sqlite://FILE`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::secret::Secret;

/// A database address. The password of a Postgres URL is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The whole URL.
    Postgres(Secret),
    /// The database file; made when missing.
    Sqlite(PathBuf),
}

/// Neither Postgres nor `SQLite`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be postgres://… or sqlite://FILE")]
pub struct UnknownScheme;

impl FromStr for DatabaseUrl {
    type Err = UnknownScheme;

    fn from_str(text: &str) -> Result<Self, UnknownScheme> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", rest))
                if !rest.is_empty() && ::url::Url::parse(text).is_ok() =>
            {
                Ok(Self::Postgres(Secret::new(text)))
            }
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            _ => Err(UnknownScheme),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            Self::Postgres(text) => match ::url::Url::parse(text.expose()) {
                Ok(url) => write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path()),
                Err(_) => f.write_str("postgres://[unreadable]"),
            },
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
            assert_eq!(text.parse::<DatabaseUrl>(), Err(UnknownScheme), "{text}");
        }
        let url: DatabaseUrl = "postgres://pay:hush@db:5432/pay".parse().expect("valid");
        assert_eq!(format!("{url:?}"), "postgres://db/pay");
    }
}
