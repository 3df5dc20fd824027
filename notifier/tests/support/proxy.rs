//! A proxy that makes tunnels (`CONNECT`), and that can also fail in every way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What it makes of a request.
#[derive(Debug, Clone)]
pub enum Conduct {
    /// A tunnel to where it was asked to.
    Tunnel,
    /// A tunnel to this address, whatever was asked for.
    TunnelTo(SocketAddr),
    /// This answer, then the end.
    Answer(&'static str),
    /// This answer to a request for the first address; a tunnel to any other.
    AnswerFor(SocketAddr, &'static str),
    /// Headers without end.
    EndlessHead,
    /// Nothing at all.
    Silence,
}

/// Listens on a port of its own until the test's runtime ends.
pub struct Proxy {
    pub address: SocketAddr,
    conduct: Arc<Mutex<Conduct>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let conduct = Arc::new(Mutex::new(conduct));
        let (shared, seen) = (conduct.clone(), heads.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let conduct = shared.lock().expect("unpoisoned").clone();
                tokio::spawn(serve(stream, conduct, seen.clone()));
            }
        });
        Self { address, conduct, heads }
    }

    /// From now on it does this.
    pub fn now(&self, conduct: Conduct) {
        *self.conduct.lock().expect("unpoisoned") = conduct;
    }

    /// The heads of the requests so far, in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.heads.lock().expect("unpoisoned").clone()
    }
}

/// An error ends the connection.
async fn serve(
    mut stream: TcpStream,
    conduct: Conduct,
    heads: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let asked = head.split(' ').nth(1).unwrap_or_default().parse();
    heads.lock().expect("unpoisoned").push(head);
    let target: SocketAddr = match (conduct, asked) {
        (Conduct::TunnelTo(target), _) => target,
        (Conduct::Answer(answer), _) => return stream.write_all(answer.as_bytes()).await,
        (Conduct::AnswerFor(first, answer), Ok(asked)) if first == asked => {
            return stream.write_all(answer.as_bytes()).await;
        }
        (Conduct::EndlessHead, _) => loop {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            stream.write_all("x: y\r\n".repeat(1000).as_bytes()).await?;
        },
        (Conduct::Silence, _) => std::future::pending().await,
        (Conduct::Tunnel | Conduct::AnswerFor(..), Ok(asked)) => asked,
        (Conduct::Tunnel | Conduct::AnswerFor(..), Err(_)) => {
            return stream.write_all(b"HTTP/1.1 400 Not an address\r\n\r\n").await;
        }
    };
    let mut upstream = TcpStream::connect(target).await?;
    // What servers say to `CONNECT` beside the status means nothing (RFC 9110, section 9.3.6).
    stream.write_all(b"HTTP/1.1 200 Connection established\r\ncontent-length: 5\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut upstream).await.map(drop)
}
