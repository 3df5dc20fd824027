//! The egress proxy: another machine that connects to receivers in our place.
//!
//! It is asked for a tunnel (`CONNECT`) to an address, never to a name: which addresses may be
//! reached is judged here, and a proxy that looked the name up again could be told another one.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::failure::ConnectError;
use super::socket::Socket;

/// The longest head of a proxy's answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The shortest header line: a name, a colon and the end of the line.
const MIN_HEADER_BYTES: usize = 4;

/// Where the proxy is, and who we are to it. The password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy {
    host: Host,
    port: u16,
    authorization: Option<HeaderValue>,
}

/// The text is no address of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct NotAProxy;

impl FromStr for EgressProxy {
    type Err = NotAProxy;

    fn from_str(text: &str) -> Result<Self, NotAProxy> {
        let url = Url::parse(text).map_err(|_| NotAProxy)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        match (url.scheme(), url.host(), url.port_or_known_default()) {
            ("http", Some(host), Some(port)) if bare => {
                Ok(Self { host: host.to_owned(), port, authorization: authorization(&url)? })
            }
            _ => Err(NotAProxy),
        }
    }
}

/// The `Basic` credentials of the URL (RFC 7617).
fn authorization(url: &Url) -> Result<Option<HeaderValue>, NotAProxy> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| NotAProxy);
    let (user, password) = (decoded(url.username())?, decoded(url.password().unwrap_or_default())?);
    let mut value =
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            .map_err(|_| NotAProxy)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EgressProxy {
    /// The name or address it is found under.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks the proxy at the other end of `socket` for a tunnel to `target`.
    pub async fn tunnel<S: Socket>(
        &self,
        socket: S,
        target: SocketAddr,
    ) -> Result<Box<dyn Socket>, ConnectError> {
        let down = |error: hyper::Error| ConnectError::ProxyDown(error.into());
        let mut http = http1::Builder::new();
        let handshake = http
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEAD_BYTES / MIN_HEADER_BYTES)
            .handshake(TokioIo::new(socket));
        let (mut sender, connection) = handshake.await.map_err(down)?;
        // Ends when the sender is dropped, or hands the socket over.
        tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(self.request(target)).await.map_err(down)?;
        match answer.status() {
            status if status.is_success() => {
                let tunnel = hyper::upgrade::on(answer).await.map_err(down)?;
                Ok(Box::new(TokioIo::new(tunnel)))
            }
            // The proxy did what was asked, and the target does not answer.
            status @ (StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => Err(ConnectError::UnreachableByProxy(status)),
            status => Err(ConnectError::ProxyRefused(status)),
        }
    }

    fn request(&self, target: SocketAddr) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        let authority = target.to_string();
        *request.uri_mut() = authority.parse().expect("a socket address is an authority");
        let host = HeaderValue::from_str(&authority).expect("a socket address is visible ASCII");
        request.headers_mut().insert(HOST, host);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_place_that_speaks_http_and_its_password_is_not_printed() {
        for text in [
            "",
            "proxy:3128",
            "https://proxy:3128",
            "socks5://proxy:1080",
            "http://",
            "http://proxy:0x10",
            "http://proxy/path",
            "http://proxy/?a=b",
            "http://proxy/#a",
            "http://a:%ff@proxy",
        ] {
            assert_eq!(text.parse::<EgressProxy>(), Err(NotAProxy), "{text}");
        }
        for (text, printed) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://us:hush@proxy.internal:3128/", "http://proxy.internal:3128"),
            ("http://us:hush@proxy", "http://proxy:80"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ] {
            let proxy: EgressProxy = text.parse().expect(text);
            assert_eq!(format!("{proxy} {proxy:?}"), format!("{printed} {printed}"));
        }
    }
}
