//! HTTP in and out, nothing else.

mod callbacks;
pub(crate) mod described;
mod payresult;
mod recharges;
mod statement;
mod totals;

use std::sync::Arc;

use axum::Router;
use messaging::webhook::WebhookSecret;
use runtime::Problem;
use runtime::batcher::Batcher;
use runtime::http::described::{Cursor, Limit, MerchantName, TxNo};
use runtime::keys::{Caller, is_merchant_name};
use runtime::validation::Invalid;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Description;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::usecases::Tools;
use crate::usecases::create_recharge::CreateRecharges;

/// What the endpoints work with.
pub struct Api {
    /// The one writer of new recharges.
    pub create: Batcher<CreateRecharges>,
    /// For everything else.
    pub tools: Tools,
    /// What the sandbox channel signs its callbacks with; without it they are not taken.
    pub sandbox_secret: Option<WebhookSecret>,
}

/// The state of every handler.
type State = axum::extract::State<Arc<Api>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringback pay-service", description = "Recharges: taken, settled, and answered for."),
    components(schemas(Cursor, Limit, MerchantName, TxNo)),
    tags(
        (name = "recharges", description = "Taking orders, and the statement of them"),
        (name = "payresult", description = "The check-back interface: answers from the database alone"),
        (name = "callbacks", description = "Where payment platforms call in"),
    )
)]
struct Described;

/// The endpoints and their description.
pub fn endpoints(api: Api) -> (Router, Description) {
    let (router, description) = OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(recharges::create, statement::list))
        .routes(routes!(totals::show))
        .routes(routes!(payresult::of_order))
        .routes(routes!(payresult::of_number))
        .routes(routes!(callbacks::take))
        .split_for_parts();
    (router.with_state(Arc::new(api)), description)
}

/// A query parameter that breaks a rule of the domain: 400, as for any other unreadable query.
fn wrong_parameter(invalid: Invalid) -> Problem {
    Problem::malformed_query(invalid)
}

/// Refuses the name of a merchant whose recharges the caller may not see, like any other id that is
/// not theirs: 404.
fn check_merchant(caller: &Caller, named: &str) -> Result<(), Problem> {
    if !is_merchant_name(named) {
        let right = "must have 1 to 64 letters, digits, `-`, `_` or `.`";
        return Err(wrong_parameter(Invalid::field("merchant", right)));
    }
    if caller.may_see(Some(named)) {
        Ok(())
    } else {
        Err(Problem::not_found("no such merchant is yours to see"))
    }
}
