//! HTTP in and out, nothing else.

mod access;
mod accounts;
mod audit;
mod credits;
mod dead_letters;
mod described;
mod exceptions;
mod notifications;
mod page;
mod payresult;
mod reason;
mod recharges;
mod reconciliation_view;
mod reconciliations;

use std::sync::Arc;

use axum::Router;
use messaging::webhook::WebhookSecret;
use runtime::SharedClock;
use runtime::http::described::{Cursor, Limit, TxNo};
use runtime::problem::Problem;
use runtime::recurring::Recurring;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{AccountNo, Nightly};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::use_cases::{
    DeadLetterQueue, Posting, ReadResults, Reconcile, RequestRecharge, StartReconciliation,
};

static PAY_SERVICE_UNANSWERED: Recurring = Recurring::new();

/// What the endpoints work with.
pub(crate) struct App {
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub nightly: Nightly,
    pub merchant: String,
    pub metrics: Metrics,
    pub posting: Posting,
    pub read_results: ReadResults,
    pub request_recharge: RequestRecharge,
    pub reconcile: Reconcile,
    pub start_reconciliation: StartReconciliation,
    pub dead_letters: DeadLetterQueue,
    /// `None` when results come from the queue alone.
    pub webhook_secrets: Option<Vec<WebhookSecret>>,
}

type AppState = axum::extract::State<Arc<App>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringback account-service", description = "Accounts, idempotent credits, reconciliation."),
    components(schemas(
        Cursor, Limit, TxNo, described::AccountNumber, described::DifferenceWord, described::ExceptionWord,
        described::Kind
    )),
    tags(
        (name = "accounts", description = "Accounts, their credits, and recharges asked for here"),
        (name = "results", description = "How results get in: received by webhook, or asked for"),
        (name = "dead letters", description = "What the queue of results has given up"),
        (name = "exceptions", description = "What does not fit, for a person to judge"),
        (name = "reconciliations", description = "Whole periods compared with pay-service's statement"),
        (name = "books", description = "Whether the books are right"),
    )
)]
struct Description;

/// The service's own endpoints and their description.
pub(crate) fn endpoints(app: App) -> (Router, utoipa::openapi::OpenApi) {
    let (router, openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(accounts::create))
        .routes(routes!(accounts::show))
        .routes(routes!(credits::list))
        .routes(routes!(recharges::create))
        .routes(routes!(notifications::receive))
        .routes(routes!(payresult::show))
        .routes(routes!(audit::show))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::show))
        .routes(routes!(dead_letters::requeue))
        .routes(routes!(dead_letters::requeues))
        .routes(routes!(exceptions::list))
        .routes(routes!(exceptions::show))
        .routes(routes!(exceptions::resolve))
        .routes(routes!(reconciliations::create))
        .routes(routes!(reconciliations::list))
        .routes(routes!(reconciliations::show))
        .routes(routes!(reconciliations::differences))
        .routes(routes!(reconciliations::cancel))
        .split_for_parts();
    (router.with_state(Arc::new(app)), openapi)
}

/// The account number of a path; what can't be one names no account.
fn account_no(path: String) -> Result<AccountNo, Problem> {
    AccountNo::parse(path).map_err(|_| no_such_account())
}

fn no_such_account() -> Problem {
    Problem::not_found("there is no account of this number")
}
