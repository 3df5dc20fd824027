//! Which broker: `amqp://…`, `amqps://…` (several, separated by commas) or `sqlite://FILE`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use runtime::Authorities;

#[cfg(feature = "rabbitmq")]
use super::AmqpUrls;

/// A broker's address. The password of an AMQP URL is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum BrokerUrl {
    /// One `RabbitMQ`, or the nodes of one cluster.
    #[cfg(feature = "rabbitmq")]
    RabbitMq(AmqpUrls),
    /// The broker's file; made when missing.
    Sqlite(PathBuf),
}

/// Why a text is no broker's address. Shows nothing that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBrokerUrl {
    /// Neither `RabbitMQ` nor `SQLite`.
    #[error("must be amqp://…, amqps://… (several separated by commas) or sqlite://FILE")]
    Scheme,
    /// The program was built without the feature `rabbitmq`.
    #[cfg(not(feature = "rabbitmq"))]
    #[error(
        "this program was built without RabbitMQ; build it with `--features rabbitmq`, or use sqlite://FILE"
    )]
    NotBuilt,
    /// An AMQP URL that can't be read.
    #[error(
        "URL {number} is not of the form amqp://user:password@host:port/vhost; `,`, `@`, `/` and `?` in a password are written %2C, %40, %2F and %3F"
    )]
    Malformed {
        /// Which of the URLs, from 1.
        number: usize,
    },
    /// A parameter that would be ignored.
    #[error(
        "URL {number} has the unknown parameter {name}; known are heartbeat, channel_max, frame_max and auth_mechanism (authorities: BROKER_CA_FILE)"
    )]
    UnknownParameter {
        /// Which of the URLs, from 1.
        number: usize,
        /// The parameter, where it can't be a part of a secret.
        name: String,
    },
    /// A parameter with a value that it can't have.
    #[error("URL {number}: {rule}")]
    BadParameter {
        /// Which of the URLs, from 1.
        number: usize,
        /// What would be right.
        rule: &'static str,
    },
    /// Authorities where no certificate is checked.
    #[error("BROKER_CA_FILE is for an amqps:// BROKER_URL")]
    NoCertificate,
}

impl FromStr for BrokerUrl {
    type Err = BadBrokerUrl;

    fn from_str(text: &str) -> Result<Self, BadBrokerUrl> {
        match text.split_once("://") {
            #[cfg(feature = "rabbitmq")]
            Some(("amqp" | "amqps", _)) => Ok(Self::RabbitMq(text.parse()?)),
            #[cfg(not(feature = "rabbitmq"))]
            Some(("amqp" | "amqps", _)) => Err(BadBrokerUrl::NotBuilt),
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            _ => Err(BadBrokerUrl::Scheme),
        }
    }
}

impl BrokerUrl {
    /// The same broker, whose certificate must be signed by one of `authorities`. A file that would not
    /// count is refused.
    pub fn trusting(self, authorities: Option<Authorities>) -> Result<Self, BadBrokerUrl> {
        match (self, authorities) {
            (url, None) => Ok(url),
            #[cfg(feature = "rabbitmq")]
            (Self::RabbitMq(urls), Some(authorities)) if urls.is_encrypted() => {
                Ok(Self::RabbitMq(urls.trusting(authorities)))
            }
            (_, Some(_)) => Err(BadBrokerUrl::NoCertificate),
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(urls) => urls.fmt(f),
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
        for text in ["kafka://localhost/x", "amqp", "sqlite://", ""] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(BadBrokerUrl::Scheme), "{text}");
        }
        let url: BrokerUrl = "amqps://relay:hush@queue:5671/%2f".parse().expect("valid");
        assert_eq!(format!("{url:?} {url}"), "amqps://queue:5671/%2f amqps://queue:5671/%2f");
    }
}
