//! The shell around a service's endpoints, and the loop that serves it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower_http::limit::RequestBodyLimitLayer;

use super::{BODY_LIMIT, Readiness};
use crate::keys::Keyring;
use crate::lifecycle::Shutdown;
use crate::problem::Problem;
use crate::telemetry;

/// How long a request may take before it is answered 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What surrounds a service's own endpoints.
pub struct Shell {
    /// Who may call.
    pub keyring: Keyring,
    /// What `/readyz` asks.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: Registry,
    /// What `/openapi.json` shows.
    pub openapi: utoipa::openapi::OpenApi,
}

impl Shell {
    /// `endpoints` with `/healthz`, `/readyz`, `/metrics` and `/openapi.json` beside them, keys,
    /// body limit, time limit and access log around them, and problems for unknown paths and methods.
    pub fn into_router(self, endpoints: Router) -> Router {
        let Self { keyring, readiness, metrics, openapi } = self;
        let openapi: Arc<str> = openapi.to_json().expect("the document has only text keys").into();
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        endpoints
            .route("/healthz", get(async || axum::Json(serde_json::json!({ "status": "alive" }))))
            .route("/readyz", get(async move || readiness.answer().await))
            .route("/metrics", get(async move || telemetry::exposition(&metrics)))
            .route("/openapi.json", get(async move || (json, openapi.to_string())))
            .fallback(async || Problem::not_found("there is no such path"))
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .layer(DefaultBodyLimit::disable())
            .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
            .layer(axum::Extension(Arc::new(keyring)))
            .layer(from_fn(within_time))
            .layer(from_fn(problem_for_plain_413))
            .layer(from_fn(log_access))
    }
}

async fn within_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the service", Duration::from_secs(5))
            .with_detail("the request took too long and its outcome is unknown; ask again")
            .into_response(),
    }
}

/// The limit layer answers a body whose announced length is too large by itself, in plain text.
async fn problem_for_plain_413(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/problem+json");
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE && plain {
        return Problem::too_large(BODY_LIMIT).into_response();
    }
    response
}

/// One line per request, without query or body: info for refusals, debug for the rest.
async fn log_access(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    let route = route.as_deref().unwrap_or("(none)");
    let status = response.status().as_u16();
    let duration_ms = started.elapsed().as_millis();
    if response.status().is_client_error() {
        tracing::info!(http.method = %method, http.route = route, http.status = status, duration_ms, "request.refused");
    } else {
        tracing::debug!(http.method = %method, http.route = route, http.status = status, duration_ms, "request.done");
    }
    response
}

/// Serves until the soft stop; then takes no new connection, finishes the requests in flight, and
/// gives up on those at the hard stop.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> std::io::Result<()> {
    let stopping = shutdown.clone();
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection.nodelay_refused");
        }
    });
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopping.stopping().await })
        .into_future();
    shutdown.unless_hard(server).await.unwrap_or(Ok(()))
}
