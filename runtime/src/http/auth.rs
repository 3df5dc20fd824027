//! The bearer key in front of every endpoint that is not public.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::keys::{Caller, Keyring, Unidentified};
use crate::problem::Problem;

/// Refuses with 401 unless the request carries a known key. The keyring is laid into the request
/// by [`Shell::into_router`](super::Shell::into_router).
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let keyring =
            parts.extensions.get::<Keyring>().expect("the shell lays the keyring into every request");
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| Problem::unauthorized("send `Authorization: Bearer <key>`"))?;
        let key = header
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim())
            .ok_or_else(|| Problem::unauthorized("the Authorization header must be `Bearer <key>`"))?;
        keyring.identify(key).map_err(|refused| match refused {
            Unidentified::Unknown => Problem::unauthorized("the key is not known"),
            Unidentified::Expired => {
                Problem::unauthorized("the key has expired: use the one that replaced it")
            }
        })
    }
}

/// Refuses with 401 without a key, and with 403 for every caller but the operator.
#[derive(Debug, Clone, Copy)]
pub struct OperatorOnly;

impl<S: Send + Sync> FromRequestParts<S> for OperatorOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await? {
            Caller::Operator(_) => Ok(Self),
            Caller::Merchant(_) => Err(Problem::forbidden("only the operator key may do this")),
        }
    }
}
