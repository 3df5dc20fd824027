//! A receiver of webhooks that speaks raw TCP, so that it can also misbehave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;

/// What the receiver does with one request, once it has read it.
#[derive(Debug, Clone)]
pub enum Act {
    /// Writes these bytes; the connection stays open for the next request.
    Write(Vec<u8>),
    /// Writes these bytes and closes.
    WriteAndClose(Vec<u8>),
    /// Writes the first bytes, then the second again and again until the other side is gone.
    WriteForEver(Vec<u8>, Vec<u8>, Duration),
    /// Answers 200 only when the semaphore lets it.
    Hold(Arc<Semaphore>),
}

/// An answer with this status, these header lines (`a: b\r\n`) and this body.
pub fn answer(status: u16, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Write(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes())
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// The request line and the header lines, names in lower case.
    pub head: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header that came exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        let mut found = self.head.iter().filter_map(|line| line.strip_prefix(&prefix));
        let value = found.next()?;
        assert!(found.next().is_none(), "{name} came twice");
        Some(value)
    }
}

#[derive(Default)]
struct Seen {
    acts: Mutex<Vec<Act>>,
    requests: Mutex<Vec<Request>>,
    server_names: Mutex<Vec<String>>,
    connections: AtomicUsize,
    arrived: Notify,
}

/// Listens on a port of its own until the test's runtime ends.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

impl Receiver {
    /// Does each of `acts` for one request; the last one for all that follow.
    pub async fn start(acts: Vec<Act>) -> Self {
        Self::bind(([127, 0, 0, 1], 0).into(), acts).await.expect("a free port")
    }

    /// The same on this address.
    pub async fn bind(address: SocketAddr, acts: Vec<Act>) -> std::io::Result<Self> {
        Self::listen(address, None, acts).await
    }

    /// The same over TLS.
    pub async fn start_tls(tls: TlsAcceptor, acts: Vec<Act>) -> Self {
        Self::listen(([127, 0, 0, 1], 0).into(), Some(tls), acts).await.expect("a free port")
    }

    async fn listen(address: SocketAddr, tls: Option<TlsAcceptor>, acts: Vec<Act>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen { acts: Mutex::new(acts), ..Seen::default() });
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(welcome(stream, tls.clone(), shared.clone()));
            }
        });
        Ok(Self { address, seen })
    }

    /// The names that TLS clients asked for.
    pub fn server_names(&self) -> Vec<String> {
        self.seen.server_names.lock().expect("unpoisoned").clone()
    }

    /// From now on it does each of these.
    pub fn now(&self, acts: Vec<Act>) {
        *self.seen.acts.lock().expect("unpoisoned") = acts;
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook?token=t0ken", self.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().expect("unpoisoned").clone()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Request> {
        let reached = async {
            loop {
                let arrived = self.seen.arrived.notified();
                let requests = self.requests();
                if requests.len() >= count {
                    return requests;
                }
                arrived.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), reached).await;
        waited.unwrap_or_else(|_| panic!("{} of {count} requests came", self.requests().len()))
    }
}

async fn welcome(stream: TcpStream, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let Some(tls) = tls else { return serve(stream, seen).await };
    let Ok(stream) = tls.accept(stream).await else { return };
    let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    seen.server_names.lock().expect("unpoisoned").push(name);
    serve(stream, seen).await;
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>) {
    while let Some(request) = read(&mut stream).await {
        let act = {
            let mut acts = seen.acts.lock().expect("unpoisoned");
            if acts.len() > 1 { acts.remove(0) } else { acts[0].clone() }
        };
        seen.requests.lock().expect("unpoisoned").push(request);
        seen.arrived.notify_waiters();
        if perform(act, &mut stream).await.is_err() {
            return;
        }
    }
}

/// An error ends the connection.
async fn perform(act: Act, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    let closed = std::io::ErrorKind::ConnectionAborted.into();
    match act {
        Act::Write(bytes) => stream.write_all(&bytes).await,
        Act::WriteAndClose(bytes) => stream.write_all(&bytes).await.and(Err(closed)),
        Act::WriteForEver(first, again, pause) => {
            stream.write_all(&first).await?;
            loop {
                stream.write_all(&again).await?;
                tokio::time::sleep(pause).await;
            }
        }
        Act::Hold(semaphore) => {
            semaphore.acquire().await.map_err(|_| closed)?.forget();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<String> =
        String::from_utf8_lossy(&bytes[..end]).split("\r\n").map(ToOwned::to_owned).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |text| text.parse().expect("a number"));
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { head, body })
}
