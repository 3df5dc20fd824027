//! The addresses of a `RabbitMQ`.

use std::fmt;
use std::str::FromStr;

use lapin::uri::{AMQPScheme, AMQPUri};
use runtime::{Authorities, Secret};
use url::{Host, Url};

use super::BadBrokerUrl;

/// The parameters that an AMQP URL may have.
const PARAMETERS: [&str; 4] = ["heartbeat", "channel_max", "frame_max", "auth_mechanism"];
/// The longest heartbeat, in seconds. None at all would leave a dead connection unnoticed.
const MAX_HEARTBEAT: u16 = 60;

/// One or more addresses of the same `RabbitMQ`, tried in turn. The path of each names the virtual
/// host, percent-encoded (`/%2f` is `/`).
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrls {
    urls: Vec<AmqpUrl>,
    authorities: Option<Authorities>,
}

/// One address. Its text holds the password.
#[derive(Clone, PartialEq, Eq)]
struct AmqpUrl {
    text: Secret,
    uri: AMQPUri,
}

impl FromStr for AmqpUrls {
    type Err = BadBrokerUrl;

    fn from_str(text: &str) -> Result<Self, BadBrokerUrl> {
        let urls = text.split(',').enumerate();
        let urls: Result<_, _> = urls.map(|(place, url)| AmqpUrl::parse(url.trim(), place + 1)).collect();
        Ok(Self { urls: urls?, authorities: None })
    }
}

impl AmqpUrls {
    /// Each address, in the order in which they were given.
    pub(super) fn addresses(&self) -> impl ExactSizeIterator<Item = &AMQPUri> {
        self.urls.iter().map(|url| &url.uri)
    }

    /// The authorities that count for these addresses, where they are not those of the system.
    pub(super) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }

    /// The same addresses, whose certificates must be signed by one of `authorities`.
    pub(super) fn trusting(self, authorities: Authorities) -> Self {
        Self { authorities: Some(authorities), ..self }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.addresses().any(|uri| uri.scheme == AMQPScheme::AMQPS)
    }

    /// The text of the first address, with its password.
    pub fn expose_first(&self) -> &str {
        self.urls.first().map(|url| url.text.expose()).expect("there is at least one")
    }
}

impl AmqpUrl {
    fn parse(text: &str, number: usize) -> Result<Self, BadBrokerUrl> {
        let malformed = BadBrokerUrl::Malformed { number };
        let url = Url::parse(text).map_err(|_| malformed.clone())?;
        let host = url.host().filter(|host| !host.to_string().is_empty()).ok_or(malformed.clone())?;
        if !matches!(url.scheme(), "amqp" | "amqps") || url.fragment().is_some() {
            return Err(malformed);
        }
        check_parameters(&url, number)?;
        let mut uri: AMQPUri = text.parse().map_err(|_| unreadable_parameter(&url, number))?;
        // The library takes a bracketed address for no host at all, which means localhost to it.
        if let Host::Ipv6(address) = host {
            uri.authority.host = address.to_string();
        }
        if uri.query.heartbeat.is_some_and(|seconds| !(1..=MAX_HEARTBEAT).contains(&seconds)) {
            return Err(BadBrokerUrl::BadParameter { number, rule: "heartbeat must be 1 to 60 (seconds)" });
        }
        Ok(Self { text: Secret::new(text), uri })
    }
}

fn check_parameters(url: &Url, number: usize) -> Result<(), BadBrokerUrl> {
    match url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
        None => Ok(()),
        Some((name, _)) => Err(BadBrokerUrl::UnknownParameter { number, name: shown(&name) }),
    }
}

/// A password with a `?` in it would be read as the name of a parameter.
fn shown(name: &str) -> String {
    let is_name = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_name { format!("`{name}`") } else { "(not shown)".to_owned() }
}

fn unreadable_parameter(url: &Url, number: usize) -> BadBrokerUrl {
    if url.query().is_none() {
        return BadBrokerUrl::Malformed { number };
    }
    let rule = "heartbeat, channel_max and frame_max must be whole numbers, auth_mechanism plain, amqplain or external";
    BadBrokerUrl::BadParameter { number, rule }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(self.text.expose()) {
            Ok(url) => write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())
                .and_then(|()| url.port().map_or(Ok(()), |port| write!(f, ":{port}")))
                .and_then(|()| f.write_str(url.path())),
            Err(_) => f.write_str("amqp://[unreadable]"),
        }
    }
}

impl fmt::Display for AmqpUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, url) in self.urls.iter().enumerate() {
            write!(f, "{}{url}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for AmqpUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::BrokerUrl;

    fn refusal(text: &str) -> String {
        text.parse::<BrokerUrl>().expect_err(text).to_string()
    }

    #[test]
    fn several_addresses_are_kept_in_their_order() {
        let text =
            "amqp://u:hush@one:5672/%2f, amqps://u:hush@two/%2f,amqp://u:hush@[::1]:5673/shop?heartbeat=7";
        let url: BrokerUrl = text.parse().expect("valid");
        assert_eq!(url.to_string(), "amqp://one:5672/%2f,amqps://two/%2f,amqp://[::1]:5673/shop");
        let BrokerUrl::RabbitMq(urls) = url else { panic!("AMQP") };
        let hosts: Vec<_> =
            urls.addresses().map(|uri| (uri.authority.host.as_str(), uri.authority.port)).collect();
        assert_eq!(hosts, [("one", 5672), ("two", 5671), ("::1", 5673)]);
        assert_eq!(urls.addresses().last().and_then(|uri| uri.query.heartbeat), Some(7));
    }

    #[test]
    fn what_would_be_ignored_or_misread_is_refused_with_the_reason() {
        for (text, reason) in [
            ("amqp://", "URL 1 is not of the form"),
            ("amqp://u:hush@a,", "URL 2 is not of the form"),
            ("amqp://u:hush@a,sqlite://b", "URL 2 is not of the form"),
            ("amqp://u:hu,sh@a", "URL 1 is not of the form"),
            ("amqp://u:hush@a/%2f#x", "URL 1 is not of the form"),
            (
                "amqp://u:hush@a,amqps://u:hush@b?verify=verify_none",
                "URL 2 has the unknown parameter `verify`",
            ),
            ("amqp://u:12?hush@a", "unknown parameter (not shown)"),
            ("amqp://u:hush@a?heartbeat=0", "heartbeat must be 1 to 60"),
            ("amqp://u:hush@a?heartbeat=61", "heartbeat must be 1 to 60"),
            ("amqp://u:hush@a?heartbeat=soon", "must be whole numbers"),
            ("amqp://u:hush@a?auth_mechanism=x", "auth_mechanism plain"),
        ] {
            let message = refusal(text);
            assert!(message.contains(reason) && !message.contains("hush"), "{text}: {message}");
        }
    }
}
