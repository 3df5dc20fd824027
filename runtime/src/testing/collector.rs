//! An OTLP collector of a test's own.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};

use crate::trace::TraceSettings;

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The service that it is of.
    pub service: String,
    /// The span.
    pub span: Span,
}

impl Collected {
    /// The trace's id, as `traceparent` writes it.
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The span's id, as `traceparent` writes it.
    pub fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// The id of the span above it; empty where there is none.
    pub fn parent_id(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// An attribute as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }
}

#[derive(Default)]
struct Seen {
    spans: Mutex<Vec<Collected>>,
    /// The other ends of the connections that spans came on.
    peers: Mutex<BTreeSet<SocketAddr>>,
    arrived: Notify,
}

/// Takes traces by OTLP over HTTP, until the test's runtime ends.
pub struct Collector {
    /// Its URL.
    pub url: String,
    seen: Arc<Seen>,
}

impl Collector {
    /// Listens on a port of its own.
    pub async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(seen.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { url, seen }
    }

    /// The settings that send every trace here.
    pub fn settings(&self) -> TraceSettings {
        let otlp_endpoint = Some(self.url.parse().expect("a collector's URL"));
        TraceSettings { otlp_endpoint, otlp_sample_ratio: "1".parse().expect("a share") }
    }

    /// On how many connections spans have come.
    pub async fn connections(&self) -> usize {
        self.seen.peers.lock().await.len()
    }

    /// Waits until so many spans have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Collected> {
        let reached = async {
            loop {
                let arrived = self.seen.arrived.notified();
                let spans = self.seen.spans.lock().await.clone();
                if spans.len() >= count {
                    return spans;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await.expect("the spans come")
    }
}

async fn take(
    State(seen): State<Arc<Seen>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Vec<u8> {
    seen.peers.lock().await.insert(peer);
    let request = ExportTraceServiceRequest::decode(body).expect("an export of traces");
    let mut spans = seen.spans.lock().await;
    for of_service in request.resource_spans {
        let resource = of_service.resource.unwrap_or_default();
        let service = text(&resource.attributes, "service.name").unwrap_or_default();
        let all = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(all.map(|span| Collected { service: service.clone(), span }));
    }
    seen.arrived.notify_waiters();
    Vec::new() // The empty message: everything was taken.
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a String can't fail.
        text
    })
}
