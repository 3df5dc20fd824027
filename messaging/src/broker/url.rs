//! Which broker: `amqp://…`, `amqps://…` or `sqlite://FILE`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use runtime::Secret;

/// A broker's address. The password of an AMQP URL is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum BrokerUrl {
    /// The whole URL; its path names the virtual host, percent-encoded (`/%2f` is `/`).
    RabbitMq(Secret),
    /// The broker's file; made when missing.
    Sqlite(PathBuf),
}

/// Neither `RabbitMQ` nor `SQLite`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be amqp://…, amqps://… or sqlite://FILE")]
pub struct UnknownScheme;

impl FromStr for BrokerUrl {
    type Err = UnknownScheme;

    fn from_str(text: &str) -> Result<Self, UnknownScheme> {
        match text.split_once("://") {
            Some(("amqp" | "amqps", _)) if text.parse::<lapin::uri::AMQPUri>().is_ok() && has_host(text) => {
                Ok(Self::RabbitMq(Secret::new(text)))
            }
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            _ => Err(UnknownScheme),
        }
    }
}

fn has_host(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            Self::RabbitMq(text) => match url::Url::parse(text.expose()) {
                Ok(url) => write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())
                    .and_then(|()| url.port().map_or(Ok(()), |port| write!(f, ":{port}")))
                    .and_then(|()| f.write_str(url.path())),
                Err(_) => f.write_str("amqp://[unreadable]"),
            },
        }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_is_refused_and_a_password_is_not_printed() {
        for text in ["kafka://localhost/x", "amqp", "amqp://", "sqlite://", ""] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(UnknownScheme), "{text}");
        }
        let url: BrokerUrl = "amqps://relay:hush@queue:5671/%2f".parse().expect("valid");
        assert_eq!(format!("{url:?} {url}"), "amqps://queue:5671/%2f amqps://queue:5671/%2f");
    }
}
