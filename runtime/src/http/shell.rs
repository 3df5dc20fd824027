//! The shell around a service's endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use prometheus::Registry;
use tower_http::limit::RequestBodyLimitLayer;

use super::described::complete;
use super::{BODY_LIMIT, Readiness, access, connections, operations};
use crate::keys::{Keyring, KeysCheck, register_key_metrics};
use crate::problem::Problem;

/// How long a request may take before it is answered 503: longer than one statement may take (20 s),
/// and so short that connections that went silent under requests are replaced within 25 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(24);

/// What `/readyz` says of a service that refuses every caller.
const NO_KEYS: &str = "no key is configured (RINGBACK_OPERATOR_KEY, RINGBACK_MERCHANT_KEYS, KEYS_FILE): every call is refused with 401";

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
        self.into_router_with(endpoints, Router::new(), BODY_LIMIT)
    }

    /// The same with endpoints of `large` beside them, which take bodies of up to `limit` bytes.
    pub fn into_router_with(self, endpoints: Router, large: Router, limit: usize) -> Router {
        let Self { keyring, mut readiness, metrics, openapi } = self;
        if keyring.is_empty() {
            tracing::warn!(
                setting = "RINGBACK_OPERATOR_KEY, RINGBACK_MERCHANT_KEYS, KEYS_FILE",
                "keys.none_configured"
            );
        }
        if keyring.has_file() {
            readiness = readiness.with_optional("keys", Arc::new(KeysCheck(keyring.clone())));
        } else if keyring.is_empty() {
            readiness = readiness.with_warning(NO_KEYS);
        }
        register_key_metrics(&metrics, keyring.clone()).expect("the registry holds other names");
        let requests = access::RequestSeconds::new(&metrics);
        connections::register_metrics(&metrics);
        let openapi: Arc<str> = complete(openapi).to_json().expect("the document has only text keys").into();
        endpoints
            .merge(operations::routes(readiness, metrics, openapi))
            .fallback(async || Problem::not_found("there is no such path"))
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
            .layer(from_fn_with_state(BODY_LIMIT, problem_for_plain_413))
            .merge(large_bodies(large, limit))
            .layer(DefaultBodyLimit::disable())
            .layer(axum::Extension(keyring))
            .layer(from_fn(within_time))
            .layer(from_fn_with_state(requests, access::note))
    }
}

fn large_bodies(endpoints: Router, limit: usize) -> Router {
    endpoints
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(RequestBodyLimitLayer::new(limit))
        .layer(from_fn_with_state(limit, problem_for_plain_413))
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
async fn problem_for_plain_413(State(limit): State<usize>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/problem+json");
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE && plain {
        return Problem::too_large(limit).into_response();
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Method;
    use axum::routing::post;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::super::Json;
    use super::*;
    use crate::Secret;
    use crate::keys::{Caller, MerchantKeys};

    fn router() -> Router {
        let echo = async |caller: Caller, Json(value): Json<Value>| {
            Json(serde_json::json!({ "caller": caller.to_string(), "value": value }))
        };
        let shell = Shell {
            keyring: Keyring::new(Some(&Secret::new("op")), &MerchantKeys::default()),
            readiness: Readiness::new(),
            metrics: Registry::new(),
            openapi: utoipa::openapi::OpenApi::default(),
        };
        shell.into_router(Router::new().route("/echo", post(echo)))
    }

    async fn answer(request: axum::http::request::Builder, body: Body) -> (u16, String, Value) {
        let response = router().oneshot(request.body(body).expect("a request")).await.expect("infallible");
        let status = response.status().as_u16();
        let kind =
            response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().expect("text").to_owned());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, kind.unwrap_or_default(), serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn echo() -> axum::http::request::Builder {
        let request = Request::builder().method(Method::POST).uri("/echo");
        request.header("authorization", "Bearer op").header("content-type", "application/json")
    }

    #[tokio::test]
    async fn every_refusal_is_a_problem_of_its_status() {
        let plain = |method: &str, path: &str| Request::builder().method(method).uri(path);
        let large = vec![b' '; BODY_LIMIT + 1];
        let chunks = futures_chunks(large.clone());
        for (request, body, expected) in [
            (plain("GET", "/nowhere"), Body::empty(), 404),
            (plain("GET", "/echo"), Body::empty(), 405),
            (plain("POST", "/echo"), Body::empty(), 401),
            (plain("POST", "/echo").header("authorization", "Bearer no"), Body::empty(), 401),
            (plain("POST", "/echo").header("authorization", "Bearer op"), Body::from("{}"), 415),
            (echo(), Body::from("{"), 400),
            (echo(), Body::from(large), 413),
            (echo(), chunks, 413),
        ] {
            let (status, kind, problem) = answer(request, body).await;
            assert_eq!((status, kind.as_str()), (expected, "application/problem+json"), "{problem}");
            assert_eq!(problem["status"], expected);
            assert!(problem["type"].as_str().is_some_and(|t| t.starts_with("urn:ringback:problem:")));
        }
    }

    fn futures_chunks(body: Vec<u8>) -> Body {
        let (sender, receiver) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut sender = sender;
            // The server stops reading at its limit, which ends the writing.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut sender, &body).await;
        });
        Body::from_stream(tokio_util::io::ReaderStream::new(receiver))
    }

    #[tokio::test]
    async fn health_metrics_and_the_interface_description_need_no_key() {
        for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
            let (status, ..) = answer(Request::builder().uri(path), Body::empty()).await;
            assert_eq!(status, 200, "{path}");
        }
    }

    #[tokio::test]
    async fn a_service_without_any_key_says_so_where_it_says_that_it_is_ready() {
        let shell = |operator: Option<&Secret>| Shell {
            keyring: Keyring::new(operator, &MerchantKeys::default()),
            readiness: Readiness::new(),
            metrics: Registry::new(),
            openapi: utoipa::openapi::OpenApi::default(),
        };
        for (operator, warned) in [(None, true), (Some(Secret::new("op")), false)] {
            let router = shell(operator.as_ref()).into_router(Router::new());
            let request = Request::builder().uri("/readyz").body(Body::empty()).expect("a request");
            let response = router.oneshot(request).await.expect("infallible");
            assert_eq!(response.status(), 200);
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            assert_eq!(String::from_utf8_lossy(&bytes).contains("RINGBACK_OPERATOR_KEY"), warned);
        }
    }

    #[tokio::test]
    async fn an_endpoint_for_larger_bodies_takes_them_up_to_its_own_limit() {
        let router = || {
            let shell = Shell {
                keyring: Keyring::new(None, &MerchantKeys::default()),
                readiness: Readiness::new(),
                metrics: Registry::new(),
                openapi: utoipa::openapi::OpenApi::default(),
            };
            let length = async |body: axum::body::Bytes| body.len().to_string();
            let large = Router::new().route("/large", post(length));
            shell.into_router_with(Router::new().route("/small", post(length)), large, 2 * BODY_LIMIT)
        };
        for (method, path, length, expected) in [
            ("POST", "/small", BODY_LIMIT, 200),
            ("POST", "/small", BODY_LIMIT + 1, 413),
            ("POST", "/large", 2 * BODY_LIMIT, 200),
            ("POST", "/large", 2 * BODY_LIMIT + 1, 413),
            ("GET", "/large", 0, 405),
        ] {
            let request = Request::builder().method(method).uri(path).header("content-length", length);
            let request = request.body(Body::from(vec![b' '; length])).expect("a request");
            let response = router().oneshot(request).await.expect("infallible");
            assert_eq!(response.status(), expected, "{path} {length}");
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            let limit = if path == "/large" { 2 * BODY_LIMIT } else { BODY_LIMIT };
            let named = expected != 413 || String::from_utf8_lossy(&bytes).contains(&limit.to_string());
            assert!(named, "{path} {length}");
        }
    }

    #[tokio::test]
    async fn every_request_is_measured_by_method_route_and_status() {
        let router = router();
        for (method, path) in [("GET", "/healthz"), ("GET", "/nowhere/1"), ("INVENTED", "/echo")] {
            let request = Request::builder().method(method).uri(path).body(Body::empty());
            router.clone().oneshot(request.expect("a request")).await.expect("infallible");
        }
        let request = Request::builder().uri("/metrics").body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes);
        for (method, route, status) in
            [("GET", "/healthz", 200), ("GET", "(none)", 404), ("other", "/echo", 405)]
        {
            let line = format!("_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} 1");
            assert!(text.contains(&line), "{line}: {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_answers_408() {
        let (_sender, receiver) = tokio::io::duplex(1024);
        let body = Body::from_stream(tokio_util::io::ReaderStream::new(receiver));
        let (status, kind, _) = answer(echo(), body).await;
        assert_eq!((status, kind.as_str()), (408, "application/problem+json"));
    }

    #[tokio::test]
    async fn a_good_request_reaches_its_endpoint_with_its_caller() {
        let (status, _, value) = answer(echo(), Body::from("{\"n\":7}")).await;
        assert_eq!((status, &value["caller"], &value["value"]["n"]), (200, &"operator".into(), &7.into()));
    }
}
