//! A connection to the broker: opened when needed, one attempt at a time, bounded in time, and cut
//! for good when the broker hangs.

use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::types::LongString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use runtime::Secret;
use tokio::time::{Instant, timeout};

use crate::broker::BrokerError;

/// How long connecting may take: TCP, TLS and the AMQP handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Both sides notice a dead peer after two of these at the latest.
const HEARTBEAT_SECONDS: u16 = 10;

/// Where a link leads, and the present one.
pub(super) struct Line {
    url: Secret,
    name: String,
    answer_timeout: Duration,
    present: tokio::sync::Mutex<Option<Arc<Link>>>,
}

/// One connection.
pub(super) struct Link {
    connection: Connection,
    socket: Socket,
    answer_timeout: Duration,
}

impl Line {
    pub(super) fn new(url: Secret, name: String, answer_timeout: Duration) -> Self {
        Self { url, name, answer_timeout, present: tokio::sync::Mutex::default() }
    }

    /// The present link, or a new one when it is lost. Callers wait for the same attempt.
    pub(super) async fn link(&self) -> Result<Arc<Link>, BrokerError> {
        let mut present = self.present.lock().await;
        if let Some(link) = present.as_ref().filter(|link| link.is_up()) {
            return Ok(link.clone());
        }
        *present = None;
        let link = Arc::new(self.open().await?);
        *present = Some(link.clone());
        Ok(link)
    }

    async fn open(&self) -> Result<Link, BrokerError> {
        let mut uri: AMQPUri =
            self.url.expose().parse().map_err(|error: String| BrokerError::unavailable(error))?;
        uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT_SECONDS));
        let name = LongString::from(self.name.as_str());
        let properties = ConnectionProperties::default().with_connection_name(name);
        let mut attempt = Attempt { socket: Socket::default(), succeeded: false };
        let connection = timeout(CONNECT_TIMEOUT, connect(uri, properties, attempt.socket.clone()))
            .await
            .map_err(BrokerError::unavailable)??;
        attempt.succeeded = true;
        let (socket, answer_timeout) = (attempt.socket.clone(), self.answer_timeout);
        Ok(Link { connection, socket, answer_timeout })
    }
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
            Ok(match uri.scheme {
                AMQPScheme::AMQP => stream,
                AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await?,
            })
        },
        properties,
    )
    .await
}

/// A second handle of a connection's socket. The client library closes a connection only by
/// asking the broker; with this, one to a broker that hangs can be ended as well, and its thread
/// with it.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn hold(&self, stream: &impl AsFd) -> std::io::Result<()> {
        let stream = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        stream.set_nodelay(true)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Ok(())
    }

    fn is_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn shut(&self) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
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
