//! Whose keys open this service: the operator's, and that of the merchant it is.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use runtime::keys::Caller;
use runtime::problem::Problem;

use super::App;

/// Refuses with 401 without a key, and with 403 for other merchants.
pub(super) struct Owner;

impl FromRequestParts<Arc<App>> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, app).await? {
            Caller::Merchant(name) if name != app.merchant => Err(Problem::forbidden(format!(
                "only the operator and the merchant {} may do this",
                app.merchant
            ))),
            _ => Ok(Self),
        }
    }
}
