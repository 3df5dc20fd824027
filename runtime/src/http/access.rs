//! What is kept of every request: one log line and one measurement.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramOpts, HistogramVec, Registry};
use tokio::time::Instant;

/// Bounds in seconds: a batch's commit takes a few milliseconds, a request at most 30 s.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How long requests took, by method, route and status.
#[derive(Debug, Clone)]
pub(super) struct RequestSeconds(HistogramVec);

impl RequestSeconds {
    /// Shown in `registry`, which must not have been given to another shell.
    pub(super) fn new(registry: &Registry) -> Self {
        let options = HistogramOpts::new("ringback_http_request_seconds", "How long requests took")
            .buckets(BUCKETS.to_vec());
        let histogram = HistogramVec::new(options, &["method", "route", "status"])
            .expect("the name and the labels are constants of the right form");
        registry.register(Box::new(histogram.clone())).expect("each shell has a registry of its own");
        Self(histogram)
    }
}

/// Logs without query or body: info for refusals, debug for the rest.
pub(super) async fn note(State(seconds): State<RequestSeconds>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    let (status, took) = (response.status(), started.elapsed());
    seconds.0.with_label_values(&[method_label(&method), route, status.as_str()]).observe(took.as_secs_f64());
    let (http_status, duration_ms) = (status.as_u16(), took.as_millis());
    if status.is_client_error() {
        tracing::info!(http.method = %method, http.route = route, http.status = http_status, duration_ms, "request.refused");
    } else {
        tracing::debug!(http.method = %method, http.route = route, http.status = http_status, duration_ms, "request.done");
    }
    response
}

/// A caller may invent methods; a label must not take them all.
fn method_label(method: &Method) -> &str {
    let known = [Method::GET, Method::POST, Method::PATCH, Method::DELETE, Method::PUT, Method::HEAD];
    if known.contains(method) { method.as_str() } else { "other" }
}
