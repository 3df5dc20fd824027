//! What is answered on a connection that got a reserved place since all others are worked on.

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

use crate::problem::Problem;

/// The paths that tell how the service is.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// When to ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether a request to `path` is answered on a reserved place.
pub(super) fn is_probe(path: &str) -> bool {
    PROBES.contains(&path)
}

/// The answer to any other request, which is not begun.
pub(super) fn all_taken() -> Response {
    Problem::unavailable("the service", RETRY_AFTER)
        .with_detail("all connections are worked on; the request was not begun, ask again")
        .into_response()
}

/// `answer` as the last one on its connection, so that the place is free again.
pub(super) fn last(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
