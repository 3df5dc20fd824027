//! A subscriber: records every webhook it gets and answers as its script says.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::signature;
use super::wait::{PATIENCE, eventually};

/// Holds answers back until the test lets them go.
pub type Gate = Arc<Semaphore>;

/// How one request is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With this status and no body.
    Status(u16),
    /// With this status and body.
    Body(u16, &'static str),
    /// Never.
    Hang,
    /// With 200, once the gate has a permit.
    Gated(Gate),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The HTTP method.
    pub method: Method,
    /// The headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
    /// When it had arrived whole.
    pub at: Instant,
}

impl Received {
    /// A header's text, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a webhook's body is JSON")
    }

    /// Whether one of its signatures was made with `secret`, and its time is about now.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let Ok(timestamp) = self.header("webhook-timestamp").parse::<i64>() else { return false };
        let expected = signature::sign(secret, self.header("webhook-id"), timestamp, &self.body);
        let fresh = (signature::now() - timestamp).abs() <= 300;
        fresh && self.header("webhook-signature").split(' ').any(|one| one == expected)
    }
}

#[derive(Default)]
struct Endpoint {
    received: Vec<Received>,
    script: VecDeque<Reply>,
    otherwise: Option<Reply>,
}

type Endpoints = Arc<Mutex<HashMap<String, Endpoint>>>;

/// A server with as many endpoints as there are paths asked for. It ends when dropped.
pub struct Receiver {
    address: SocketAddr,
    endpoints: Endpoints,
    server: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a port of its own; every path answers 200 until it has a script.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let endpoints = Endpoints::default();
        let router = Router::new().fallback(answer).with_state(endpoints.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving never fails");
        });
        Self { address, endpoints, server }
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests to `path` are answered with `replies` in turn, later ones as `otherwise`.
    pub fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>, otherwise: Reply) {
        let mut endpoints = locked(&self.endpoints);
        let endpoint = endpoints.entry(path.to_owned()).or_default();
        endpoint.script = replies.into_iter().collect();
        endpoint.otherwise = Some(otherwise);
    }

    /// What has arrived at `path`, in its order.
    pub fn received(&self, path: &str) -> Vec<Received> {
        locked(&self.endpoints).get(path).map(|endpoint| endpoint.received.clone()).unwrap_or_default()
    }

    /// Waits until `count` requests have arrived at `path`.
    pub async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        eventually(&format!("{count} webhooks at {path}"), PATIENCE, async || {
            Some(self.received(path)).filter(|received| received.len() >= count)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(endpoints): State<Endpoints>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let reply = {
        let mut endpoints = locked(&endpoints);
        let endpoint = endpoints.entry(uri.path().to_owned()).or_default();
        endpoint.received.push(Received { method, headers, body, at: Instant::now() });
        endpoint.script.pop_front().or_else(|| endpoint.otherwise.clone()).unwrap_or(Reply::Status(200))
    };
    match reply {
        Reply::Status(status) => code(status).into_response(),
        Reply::Body(status, body) => (code(status), body).into_response(),
        Reply::Hang => std::future::pending().await,
        Reply::Gated(gate) => {
            gate.acquire().await.expect("the gate is never closed").forget();
            StatusCode::OK.into_response()
        }
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a script has valid statuses")
}

fn locked(endpoints: &Endpoints) -> MutexGuard<'_, HashMap<String, Endpoint>> {
    endpoints.lock().unwrap_or_else(PoisonError::into_inner)
}
