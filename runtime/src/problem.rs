//! Errors as the outside sees them: `application/problem+json` (RFC 9457).

use std::error::Error;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::recurring::Recurring;
use crate::validation::{FieldError, Invalid};

static FAILED: Recurring = Recurring::new();

/// An answer that is not the one asked for: what went wrong and what would be right.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:ringback:problem:<slug>`; stable, for programs.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:ringback:problem:[a-z0-9-]+$", example = "urn:ringback:problem:invalid")]
    kind: String,
    /// The kind of problem in a few words; the same for every occurrence.
    title: &'static str,
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, minimum = 400, maximum = 599, example = 422)]
    status: StatusCode,
    /// This occurrence.
    detail: String,
    /// The fields that are wrong, for validation problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, slug: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:ringback:problem:{slug}"),
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// 400: the body is no JSON.
    pub fn malformed_json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-json", "The body is not well-formed JSON", detail)
    }

    /// 400: the query string can't be read; names the parameters.
    pub fn malformed_query(invalid: Invalid) -> Self {
        let detail = invalid.to_string();
        Self::new(StatusCode::BAD_REQUEST, "malformed-query", "The query can't be read", detail)
            .with_errors(invalid.0)
    }

    /// 401: no key, or none that is known.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid key is required", detail)
    }

    /// 403: the caller is known, but this is not theirs to do.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed with this key", detail)
    }

    /// 404: there is no such thing, or not for this caller.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let detail = "this path exists, but not for this method; see the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// 408: the caller did not send its request in time.
    pub fn request_timeout() -> Self {
        let detail = "the body did not arrive in time; nothing was changed";
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request took too long to arrive",
            detail,
        )
    }

    /// 409: contradicts what is stored.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Contradicts what is stored", detail)
    }

    /// 413: `limit` is in bytes.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body must not exceed {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// 415: only JSON is taken.
    pub fn unsupported_media_type() -> Self {
        let detail = "send the body with content-type: application/json";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body must be JSON",
            detail,
        )
    }

    /// 415: only the media types that `right` names are taken.
    pub fn unsupported_media_type_but(right: &str) -> Self {
        Self::unsupported_media_type().with_detail(format!("send the body with content-type: {right}"))
    }

    /// 422: well-formed but invalid; names the fields.
    pub fn invalid(invalid: Invalid) -> Self {
        let detail = invalid.to_string();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request is not valid", detail)
            .with_errors(invalid.0)
    }

    /// 429: too much at once.
    pub fn too_many_requests(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests", detail)
            .with_retry_after(retry_after)
    }

    /// 503: the dependency `part` does not answer; nothing is known, nothing was changed.
    pub fn unavailable(part: &str, retry_after: Duration) -> Self {
        let detail = format!("{part} does not answer; try again later");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "A dependency is down", detail)
            .with_errors(vec![FieldError { field: part.into(), message: "does not answer".into() }])
            .with_retry_after(retry_after)
    }

    /// 500: a defect of ours. The error is logged here and not shown.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        if let Some(times) = FAILED.note(&Chain(error)) {
            tracing::error!(error = %Chain(error), times, "request.failed");
        }
        let detail = "the request could not be handled; the error has been logged";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// The same problem with its own `detail`.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same problem naming these fields.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same problem with a `Retry-After` of whole seconds, at least one.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem has only text and numbers");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// An error with its sources, on one line.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
