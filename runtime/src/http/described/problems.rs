//! Problems in the interface description.

use utoipa::IntoResponses;

use crate::problem::Problem;

/// Problems that every endpoint behind a key can answer.
#[derive(IntoResponses)]
pub enum KeyedProblems {
    /// No key, or none that is known
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// A defect of the service; it has been logged
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// A dependency is down: nothing is known, ask again after `Retry-After`
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Problems of every endpoint that is signed for instead of having a key.
#[derive(IntoResponses)]
pub enum Failures {
    /// A defect of the service; it has been logged
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The database is down; call again after `Retry-After`
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Problems that every endpoint that takes a JSON body can answer.
#[derive(IntoResponses)]
pub enum BodyProblems {
    /// The body is not well-formed JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The body did not arrive in time; nothing was changed
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(Problem),
    /// The body is over 64 KiB
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The content type of the body is not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// Well-formed, but a field is missing, unknown or invalid; `errors` names each
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

/// The problem of every endpoint that takes a query string.
#[derive(IntoResponses)]
pub enum QueryProblems {
    /// A parameter is missing, unknown or invalid; `errors` names each
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
}

/// The problem of every endpoint that answers for one merchant and lets it be named.
#[derive(IntoResponses)]
pub enum ForeignMerchant {
    /// `merchant` names another merchant
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}
