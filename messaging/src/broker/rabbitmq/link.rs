//! A connection to the broker: opened when needed, one attempt at a time, bounded in time, and cut
//! for good when the broker hangs.

use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig, TLSConfig};
use lapin::types::{LongString, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use runtime::Authorities;
use runtime::problem::Chain;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::{Instant, sleep, timeout};

use crate::broker::{AmqpUrls, BrokerError};

/// How long connecting to one address may take: TCP, TLS and the AMQP handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call looks for an address that answers; the next call goes on with the next address.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The client notices a dead peer after two of these, `RabbitMQ` after two to three.
const HEARTBEAT_SECONDS: u16 = 5;
/// How long an orderly end may take; then the connection is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked whether the broker has answered.
const CLOSE_POLL: Duration = Duration::from_millis(5);

/// Where a link leads, and the present one.
pub(super) struct Line {
    addresses: Vec<AMQPUri>,
    /// The authorities that count, where they are not those of the system.
    authorities: Option<Authorities>,
    name: String,
    answer_timeout: Duration,
    present: tokio::sync::Mutex<Present>,
}

/// What a line has, and which of its addresses is tried first.
#[derive(Default)]
struct Present {
    link: Option<Arc<Link>>,
    next: usize,
}

/// One connection.
pub(super) struct Link {
    connection: Connection,
    socket: Socket,
    answer_timeout: Duration,
}

impl Line {
    pub(super) fn new(urls: &AmqpUrls, name: String, answer_timeout: Duration) -> Self {
        let addresses = urls.addresses().cloned().map(with_heartbeat).collect();
        let authorities = urls.authorities().cloned();
        Self { addresses, authorities, name, answer_timeout, present: tokio::sync::Mutex::default() }
    }

    /// The present link, or a new one when it is lost. Callers wait for the same attempt.
    pub(super) async fn link(&self) -> Result<Arc<Link>, BrokerError> {
        let mut present = self.present.lock().await;
        match present.link.take() {
            Some(link) if link.is_up() => {
                present.link = Some(link.clone());
                return Ok(link);
            }
            // A node that was lost may answer and still be of no use.
            Some(_) => present.next += 1,
            None => {}
        }
        let link = Arc::new(self.search(&mut present.next).await?);
        present.link = Some(link.clone());
        Ok(link)
    }

    /// Tries the addresses in turn, from `next` on, which then is the one that answered.
    async fn search(&self, next: &mut usize) -> Result<Link, BrokerError> {
        let deadline = Instant::now() + SEARCH_TIMEOUT;
        let mut failures = Vec::new();
        for _ in 0..self.addresses.len() {
            let uri = &self.addresses[*next % self.addresses.len()];
            match self.open(uri.clone()).await {
                Ok(link) => return Ok(link),
                Err(error) => failures.push(failure(uri, &error)),
            }
            *next += 1;
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(BrokerError::unavailable(failures.join("; ")))
    }

    async fn open(&self, uri: AMQPUri) -> Result<Link, BrokerError> {
        let name = LongString::from(self.name.as_str());
        let properties = ConnectionProperties::default().with_connection_name(name);
        let mut attempt = Attempt { socket: Socket::default(), succeeded: false };
        let connector =
            self.authorities.as_ref().map(connector).transpose().map_err(BrokerError::unavailable)?;
        let connecting = connect(uri, properties, attempt.socket.clone(), connector);
        let connection = timeout(CONNECT_TIMEOUT, connecting).await.map_err(BrokerError::unavailable)??;
        attempt.succeeded = true;
        let (socket, answer_timeout) = (attempt.socket.clone(), self.answer_timeout);
        Ok(Link { connection, socket, answer_timeout })
    }

    /// Ends the present link in order, so that the broker does not take it for a crash.
    pub(super) async fn close(&self) {
        let Ok(mut present) = timeout(CLOSE_TIMEOUT, self.present.lock()).await else { return };
        if let Some(link) = present.link.take().filter(|link| link.is_up()) {
            link.close().await;
        }
    }
}

/// Which address failed, and why.
fn failure(uri: &AMQPUri, error: &BrokerError) -> String {
    let (host, port) = (&uri.authority.host, uri.authority.port);
    let cause = std::error::Error::source(error).map_or(error as &dyn std::error::Error, |cause| cause);
    format!("{host}:{port}: {}", Chain(cause))
}

fn with_heartbeat(mut uri: AMQPUri) -> AMQPUri {
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT_SECONDS));
    uri
}

impl Link {
    /// One that was cut counts as lost before the client library has noticed.
    fn is_up(&self) -> bool {
        self.socket.is_held() && self.connection.status().connected()
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.connection.create_channel().await
    }

    /// The largest frame the broker takes, in bytes.
    pub(super) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// When a request that is sent now counts as unanswered.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.answer_timeout
    }

    /// Whether the broker has asked us to publish nothing for now.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Runs `exchange` with the broker; one that hangs costs the link.
    pub(super) async fn bounded<T>(
        &self,
        exchange: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        timeout(self.answer_timeout, exchange).await.unwrap_or_else(|elapsed| {
            self.cut();
            Err(BrokerError::unavailable(elapsed))
        })
    }

    /// Ends the connection without asking the broker, who does not answer.
    pub(super) fn cut(&self) {
        self.socket.shut();
    }

    async fn close(&self) {
        let closing = async {
            // Channels that were dropped a moment ago are still being closed, and the library counts that as
            // an error once the connection closes. A round trip lets them finish.
            let last = self.connection.create_channel().await?;
            last.close(200, ShortString::default()).await?;
            // Answered when it is sent; the socket must stay until the broker has answered.
            self.connection.close(200, ShortString::from("the program ends")).await?;
            while self.connection.status().closing() {
                sleep(CLOSE_POLL).await;
            }
            Ok::<_, lapin::Error>(())
        };
        // A broker that does not answer, or is gone, needs no farewell.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
        self.cut();
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::unavailable(error)
    }
}

async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    socket: Socket,
    connector: Option<RustlsConnector>,
) -> Result<Connection, lapin::Error> {
    let runtime = lapin::runtime::default_runtime()?;
    Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let host = (uri.authority.host.clone(), uri.authority.port);
            let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                socket.hold(plain.get_ref())?;
            }
            let host = &uri.authority.host;
            Ok(match (uri.scheme, &connector) {
                (AMQPScheme::AMQP, _) => stream,
                (AMQPScheme::AMQPS, Some(connector)) => stream.into_rustls(connector, host).await?,
                (AMQPScheme::AMQPS, None) => stream.into_tls(host, TLSConfig::default()).await?,
            })
        },
        properties,
    )
    .await
}

/// What verifies a certificate by `authorities` alone.
fn connector(authorities: &Authorities) -> std::io::Result<RustlsConnector> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(authorities.pem()).collect();
    let certificates = certificates.map_err(std::io::Error::other)?;
    RustlsConnectorConfig::default().with_parsable_certificates(certificates).connector_with_no_client_auth()
}

/// A second handle of a connection's socket. The client library closes a connection only by
/// asking the broker; with this, one to a broker that hangs can be ended as well, and its thread
/// with it.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stream: Option<TcpStream>,
    /// The attempt that it belongs to was given up, also if it connects later.
    is_over: bool,
}

impl Socket {
    fn hold(&self, stream: &impl AsFd) -> std::io::Result<()> {
        let stream = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        stream.set_nodelay(true)?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        state.stream = Some(stream);
        Ok(())
    }

    fn is_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stream.is_some()
    }

    fn shut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_over = true;
        if let Some(stream) = state.stream.take() {
            // Fails only on a socket that is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// An attempt to connect; given up, it leaves no half-open connection behind.
struct Attempt {
    socket: Socket,
    succeeded: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.succeeded {
            self.socket.shut();
        }
    }
}
