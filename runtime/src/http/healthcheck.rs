//! Asking the own `/readyz` from inside a container that has no other program to ask with.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// `Ok` when the service that listens on `listen` says that it is ready.
pub async fn ask_readyz(listen: SocketAddr) -> io::Result<()> {
    tokio::time::timeout(TIMEOUT, exchange(listen)).await?
}

async fn exchange(mut listen: SocketAddr) -> io::Result<()> {
    if listen.ip().is_unspecified() {
        listen.set_ip([127, 0, 0, 1].into());
    }
    let mut stream = TcpStream::connect(listen).await?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(8 * 1024).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    match text.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(text.lines().last().unwrap_or("no answer").to_owned())),
    }
}
