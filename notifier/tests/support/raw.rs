//! Receivers that do with a connection whatever a test says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Listens on a port of its own until the test's runtime ends.
pub struct Raw {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Raw {
    /// Hands every connection to `conduct`, with the number of those before it; an error, or the
    /// end, closes it.
    pub async fn start<F, Done>(conduct: F) -> Self
    where
        F: Fn(Peer, usize) -> Done + Send + 'static,
        Done: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let [connections, written] = [0; 2].map(|zero| Arc::new(AtomicUsize::new(zero)));
        let (count, shared) = (connections.clone(), written.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let before = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(conduct(Peer { stream, written: shared.clone() }, before));
            }
        });
        Self { address, connections, written }
    }

    /// Answers every request with `first`, then pours out `again` until the other side is gone.
    pub async fn pouring(first: &'static str, again: String, pause: Duration) -> Self {
        Self::start(move |mut peer, _| {
            let again = again.clone();
            async move {
                peer.answer(first).await?;
                peer.write_for_ever(again, pause).await
            }
        })
        .await
    }

    /// Answers the one request of every connection with `answer`, then closes.
    pub async fn answering(answer: Vec<u8>) -> Self {
        Self::start(move |mut peer, _| {
            let answer = answer.clone();
            async move { peer.answer(answer).await }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many bytes could be written to all connections.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
}

/// The other side of a connection.
pub struct Peer {
    pub stream: TcpStream,
    written: Arc<AtomicUsize>,
}

impl Peer {
    /// Reads one whole request.
    pub async fn request(&mut self) -> io::Result<()> {
        read_request(&mut self.stream).await
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.written.fetch_add(bytes.as_ref().len(), Ordering::SeqCst);
        Ok(())
    }

    /// Reads a request, then writes `first`.
    pub async fn answer(&mut self, first: impl AsRef<[u8]>) -> io::Result<()> {
        self.request().await?;
        self.write(first).await
    }

    /// Writes `bytes` again and again until the other side is gone.
    pub async fn write_for_ever(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> io::Result<()> {
        loop {
            self.write(bytes.as_ref()).await?;
            tokio::time::sleep(pause).await;
        }
    }

    /// Keeps the connection open until the other side is gone.
    pub async fn hold(&mut self) -> io::Result<()> {
        let mut rest = [0; 1024];
        while self.stream.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

/// Reads one whole request with a `content-length`.
pub async fn read_request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map(drop)
}
