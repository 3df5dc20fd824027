//! HTTP in and out, nothing else.

mod bulk_documents;
mod bulks;
mod cancellations;
pub(crate) mod described;
mod described_ack;
mod documents;
mod event_forms;
mod events;
mod feed;
mod health_document;
mod notification_actions;
mod notification_counts;
mod notifications;
mod replays;
mod signing_documents;
mod subscription_actions;
mod subscription_audits;
mod subscription_changes;
mod subscription_ref;
mod subscriptions;
mod webhook_document;
mod words;

use std::sync::Arc;

use axum::Router;
use runtime::Problem;
use runtime::batcher::Batcher;
use runtime::http::described::{Cursor, Limit, MerchantName};
use runtime::keys::{Caller, is_merchant_name};
use runtime::validation::Invalid;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Description;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::engine::PublishEvents;
use crate::usecases::Tools;
use crate::usecases::test_subscription::TestSubscriptions;

pub use events::MAX_BATCH_BYTES;

/// What the endpoints work with.
pub struct Api {
    tools: Tools,
    tests: TestSubscriptions,
    publish: Batcher<PublishEvents>,
}

/// The state of every handler.
type State = axum::extract::State<Arc<Api>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringback notifier", description = "Delivers events to subscribers by signed webhook."),
    components(schemas(
        Cursor, Limit, MerchantName, described::CancellableState, described::EventId, described::Failure,
        described::Pattern, described::PresetName, described::ReplayState, described::StateFilter, described::Step,
        described::Subject, described::SubscriptionName, described::Why, described_ack::AckBody,
        described_ack::AckJson, described_ack::AckPlace, described_ack::AckStatus, subscription_ref::SubscriptionRef
    )),
    tags(
        (name = "subscriptions", description = "Who receives which events, where and how"),
        (name = "events", description = "Publishing events, and catching up on them"),
        (name = "notifications", description = "The notification log, and what people do with it"),
        (name = "replays", description = "Resending many notifications"),
        (name = "cancellations", description = "Cancelling many notifications"),
        (name = "webhooks", description = "What the receivers of subscribers are sent"),
    )
)]
struct Described;

/// The endpoints and their description.
pub struct Endpoints {
    /// Those that take bodies as all services do.
    pub router: Router,
    /// Those that take bodies of up to [`MAX_BATCH_BYTES`].
    pub large: Router,
    /// The description of both.
    pub openapi: Description,
}

/// The endpoints; `publish` keeps the events that come in here.
pub fn endpoints(tools: Tools, publish: Batcher<PublishEvents>) -> Endpoints {
    let api = Arc::new(Api { tests: TestSubscriptions::new(tools.clone()), tools, publish });
    let (large, of_large) = OpenApiRouter::new().routes(routes!(events::publish)).split_for_parts();
    let (router, mut openapi) = OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(subscriptions::create, subscriptions::list))
        .routes(routes!(subscriptions::show, subscription_changes::patch, subscription_changes::delete))
        .routes(routes!(subscription_actions::rotate_secret))
        .routes(routes!(subscription_actions::test))
        .routes(routes!(subscription_audits::list))
        .routes(routes!(feed::read))
        .routes(routes!(notifications::list))
        .routes(routes!(notification_counts::list))
        .routes(routes!(notifications::show))
        .routes(routes!(notification_actions::resend))
        .routes(routes!(notification_actions::cancel))
        .routes(routes!(replays::create, replays::list))
        .routes(routes!(replays::show))
        .routes(routes!(cancellations::create, cancellations::list))
        .routes(routes!(cancellations::show))
        .split_for_parts();
    openapi.merge(of_large);
    webhook_document::describe(&mut openapi);
    Endpoints { router: router.with_state(api.clone()), large: large.with_state(api), openapi }
}

fn no_subscription() -> Problem {
    Problem::not_found("there is no such subscription")
}

fn no_notification() -> Problem {
    Problem::not_found("there is no such notification")
}

/// The merchant a list is narrowed to: a merchant's key sees its own alone, and another's name is
/// not there for it.
fn narrowed(caller: &Caller, named: Option<String>) -> Result<Option<String>, Problem> {
    match named {
        None => Ok(caller.merchant().map(str::to_owned)),
        Some(name) if !is_merchant_name(&name) => {
            let right = "must have 1 to 64 letters, digits, `-`, `_` or `.`";
            Err(Problem::malformed_query(Invalid::field("merchant", right)))
        }
        Some(name) if caller.may_see(Some(&name)) => Ok(Some(name)),
        Some(_) => Err(Problem::not_found("no such merchant is yours to see")),
    }
}
