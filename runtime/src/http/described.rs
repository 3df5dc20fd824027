//! Problems and keys in the interface description, the same for every service.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify};

use crate::problem::Problem;

/// Problems that every endpoint behind a key can answer.
#[derive(IntoResponses)]
pub enum KeyedProblems {
    /// No key, or none that is known
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// A dependency is down: nothing is known, ask again after `Retry-After`
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// Problems that every endpoint that takes a JSON body can answer.
#[derive(IntoResponses)]
pub enum BodyProblems {
    /// The body is not well-formed JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    /// The body is over 64 KiB
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The body is not said to be JSON
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(#[to_schema] Problem),
    /// Well-formed, but a field is missing, unknown or invalid; `errors` names each
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
}

/// The problem of every endpoint that takes a query string.
#[derive(IntoResponses)]
pub enum QueryProblems {
    /// A parameter is missing, unknown or invalid; `errors` names each
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
}

/// The problem of every endpoint that answers for one merchant and lets it be named.
#[derive(IntoResponses)]
pub enum ForeignMerchant {
    /// `merchant` names another merchant
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// Describes `Authorization: Bearer <key>` as the security scheme `key`.
pub struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        openapi.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}
