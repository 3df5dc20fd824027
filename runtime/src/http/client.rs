//! HTTP clients whose connections have a greatest age.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;

/// The greatest age of a connection that a request begins on. Under steady traffic a connection never falls
/// idle, so that a service which has moved to another address would be looked for at the old one for ever.
pub const MAX_AGE: Duration = Duration::from_mins(1);

type Build = dyn Fn() -> reqwest::Result<Client> + Send + Sync;

/// An HTTP client that is built again when it is [`MAX_AGE`] old. Requests under way end on the connections
/// that they began on. Clones share it.
#[derive(Clone)]
pub struct RenewedClient {
    build: Arc<Build>,
    current: Arc<Mutex<(Client, Instant)>>,
}

impl RenewedClient {
    /// A client as `build` makes it.
    pub fn new(build: impl Fn() -> reqwest::Result<Client> + Send + Sync + 'static) -> reqwest::Result<Self> {
        let current = Arc::new(Mutex::new((build()?, Instant::now())));
        Ok(Self { build: Arc::new(build), current })
    }

    /// The client for the next request. If a new one can't be built, the old one serves on.
    pub fn current(&self) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1.elapsed() >= MAX_AGE {
            match (self.build)() {
                Ok(client) => current.0 = client,
                Err(error) => tracing::warn!(%error, "http_client.not_renewed"),
            }
            current.1 = Instant::now();
        }
        current.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers every request with 204.
    async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        loop {
            request.push(stream.read_u8().await?);
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            }
        }
    }

    #[tokio::test]
    async fn under_steady_traffic_no_request_begins_on_a_connection_older_than_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        let client = RenewedClient::new(|| Client::builder().no_proxy().build()).expect("a client");
        for minute in 1..=3 {
            for _ in 0..6 {
                client.clone().current().get(&url).send().await.expect("an answer");
                assert_eq!(connections.load(Ordering::SeqCst), minute);
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(10)).await;
                tokio::time::resume();
            }
        }
    }
}
