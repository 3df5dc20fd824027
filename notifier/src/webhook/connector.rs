//! Makes connections, and only to addresses that the policy permits.
//!
//! Here the name is looked up, its addresses are judged, and one of the judged addresses is
//! connected to: nothing looks the name up again in between, so rebinding it gains nothing. A
//! kept-alive connection goes on to where it was judged to go.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use runtime::problem::Chain;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tower::Service;
use url::Host;

use super::address_policy::{Transport, contains};
use super::bounded::Bounded;
use super::dial::tcp;
use super::egress::Egress;
use super::failure::{AnyError, ConnectError};
use super::lookup::Lookup;
use super::progress::{Phase, Progress};
use super::proxy::EgressProxy;
use super::socket::{Link, Socket, Unwritable};
use super::tls;

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects the HTTP client, as a service from a URL's scheme and authority to a socket.
#[derive(Clone)]
pub struct Connector {
    lookup: Arc<dyn Lookup>,
    egress: Arc<Egress>,
    tls: TlsConnector,
    proxy_fails: Arc<AtomicBool>,
}

impl Connector {
    /// Finds names by `lookup` and leaves by `egress`.
    pub fn new(lookup: Arc<dyn Lookup>, egress: Egress) -> Self {
        let tls = tls::connector(egress.roots.clone());
        Self { lookup, egress: Arc::new(egress), tls, proxy_fails: Arc::default() }
    }

    async fn connect(&self, target: &Target, progress: &Progress) -> Result<Link, ConnectError> {
        progress.enter(Phase::Resolving);
        let found = self.addresses(&target.host).await.map_err(ConnectError::Unresolved)?;
        let mut permitted = self.egress.policy.permitted(found, target.transport)?;
        permitted.truncate(MAX_ADDRESSES);
        let unwritable = Unwritable::default();
        let socket = self.reach(permitted, target.port, progress).await?;
        let socket = Box::new(Bounded::new(socket, unwritable.clone()));
        let socket: Box<dyn Socket> = match target.transport {
            Transport::Plain => socket,
            Transport::Tls => {
                progress.enter(Phase::Handshaking);
                self.handshake(target, socket).await?
            }
        };
        progress.enter(Phase::Exchanging);
        Ok(Link::new(socket, unwritable))
    }

    /// The addresses that `host` stands for, at least one.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, AnyError> {
        let found = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.lookup.lookup(host).await?,
        };
        if found.is_empty() { Err("the name has no address".into()) } else { Ok(found) }
    }

    async fn reach(
        &self,
        permitted: Vec<IpAddr>,
        port: u16,
        progress: &Progress,
    ) -> Result<Box<dyn Socket>, ConnectError> {
        let targets = |addresses: Vec<IpAddr>| addresses.into_iter().map(|ip| (ip, port).into()).collect();
        let Some(proxy) = &self.egress.proxy else {
            return direct(targets(permitted), progress).await;
        };
        let (near, far): (Vec<_>, Vec<_>) =
            permitted.into_iter().partition(|address| contains(&self.egress.proxy_bypass, *address));
        if near.is_empty() {
            self.tunnel(proxy, targets(far), progress).await
        } else {
            direct(targets(near), progress).await
        }
    }

    /// A tunnel to the first of `targets` that the proxy can reach.
    async fn tunnel(
        &self,
        proxy: &EgressProxy,
        targets: Vec<SocketAddr>,
        progress: &Progress,
    ) -> Result<Box<dyn Socket>, ConnectError> {
        let mut outcome = Err(ConnectError::Unresolved("the name has no address".into()));
        for target in targets {
            progress.enter(Phase::ReachingProxy);
            let socket = self.proxy_socket(proxy, progress).await.map_err(ConnectError::ProxyDown)?;
            progress.enter(Phase::Tunnelling);
            outcome = proxy.tunnel(socket, target).await;
            if matches!(outcome, Ok(_) | Err(ConnectError::UnreachableByProxy(_))) {
                self.note_proxy_success();
            }
            if !matches!(outcome, Err(ConnectError::UnreachableByProxy(_))) {
                break;
            }
        }
        outcome
    }

    async fn proxy_socket(&self, proxy: &EgressProxy, progress: &Progress) -> Result<TcpStream, AnyError> {
        let found = match proxy.host() {
            Host::Ipv4(address) => vec![(*address).into()],
            Host::Ipv6(address) => vec![(*address).into()],
            Host::Domain(name) => self.addresses(name).await?,
        };
        let proxies = found.into_iter().map(|ip| (ip, proxy.port()).into()).collect();
        tcp(proxies, progress.deadline()).await
    }

    /// Whoever operates this hears of it once, however many attempts meet it.
    fn note_proxy_failure(&self, error: &ConnectError) {
        if error.is_of_proxy() && !self.proxy_fails.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %Chain(error), "egress_proxy.failed");
        }
    }

    fn note_proxy_success(&self) {
        if self.proxy_fails.swap(false, Ordering::Relaxed) {
            tracing::info!("egress_proxy.recovered");
        }
    }

    async fn handshake(
        &self,
        target: &Target,
        socket: Box<dyn Socket>,
    ) -> Result<Box<dyn Socket>, ConnectError> {
        let name =
            ServerName::try_from(target.host.clone()).map_err(|error| ConnectError::Tls(error.into()))?;
        match self.tls.connect(name, socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(ConnectError::Tls(error.into())),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (this, progress) = (self.clone(), Progress::current());
        Box::pin(async move {
            let target = Target::of(&uri);
            // The client finishes what it has begun when the attempt has found another connection
            // meanwhile, so the limit must be kept here too.
            let connecting = timeout_at(progress.deadline(), this.connect(&target, &progress));
            let outcome = connecting.await.unwrap_or_else(|_| Err(ConnectError::OutOfTime(progress.phase())));
            outcome.map(TokioIo::new).inspect_err(|error| this.note_proxy_failure(error))
        })
    }
}

/// What a URL asks to be connected with.
struct Target {
    /// A name, or an address without brackets.
    host: String,
    port: u16,
    transport: Transport,
}

impl Target {
    fn of(uri: &Uri) -> Self {
        let transport = if uri.scheme_str() == Some("https") { Transport::Tls } else { Transport::Plain };
        let usual = if transport == Transport::Tls { 443 } else { 80 };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(usual), transport }
    }
}

async fn direct(targets: Vec<SocketAddr>, progress: &Progress) -> Result<Box<dyn Socket>, ConnectError> {
    progress.enter(Phase::Connecting);
    let stream = tcp(targets, progress.deadline()).await.map_err(ConnectError::Unreachable)?;
    Ok(Box::new(stream))
}
