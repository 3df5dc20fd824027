//! What replays and cancellations have in common.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime::Problem;
use runtime::http::{Json, List, Page, Timestamp};
use runtime::keys::Caller;
use runtime::validation::Violations;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::documents::time;
use super::words::{self, Words};
use super::{State, narrowed, no_subscription};
use crate::domain::{Bulk, BulkAction, BulkFilter, SubscriptionId};
use crate::store::BulksFilter;
use crate::usecases::bulk::{self, BulkError};

/// When to ask again while as many run as may.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Which notifications are meant. All that is given must match, as they stand when it is their turn.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// Of this subscription
    subscription_id: Uuid,
    /// Only those in these states: a list of `pending`, `delivering`, `held`, `delivered`, `exhausted`,
    /// `cancelled`, `undelivered` (all but delivered and cancelled), or a text of them separated by commas.
    /// Only `pending`, `delivering` and `held` can be cancelled
    #[schema(value_type = Option<Vec<String>>, example = json!(["exhausted"]))]
    state: Option<Words>,
    /// Only those about events of this type, or of a family such as `recharge.*`
    #[schema(example = "recharge.*")]
    event_type: Option<String>,
    /// Only those whose last attempt failed for one of these reasons; written like `state`
    #[schema(value_type = Option<Vec<String>>, example = json!(["dns", "connect"]))]
    failure_class: Option<Words>,
    /// Only those that came in then or later
    #[schema(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those that came in before then
    #[schema(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
    /// Kept in the audit trail of every notification; up to 500 characters
    reason: Option<String>,
}

/// Which of them, and which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BulksQuery {
    /// Only those of this merchant's subscriptions; with a merchant's key, its own name or absent
    merchant: Option<String>,
    /// Only those of this subscription
    subscription_id: Option<Uuid>,
    /// Where the page starts: the `next_cursor` of the page before
    cursor: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
}

impl BulkRequest {
    fn filter(self, action: BulkAction) -> Result<(BulkFilter, Option<String>), Problem> {
        let mut wrong = Violations::new();
        let states = self.state.map(|words| wrong.take(words::states(&words.0)));
        let event_type = self.event_type.map(|text| wrong.take(words::event_type(&text)));
        let classes = self.failure_class.map(|words| wrong.take(words::failure_classes(&words.0)));
        wrong.finish()?;
        let filter = BulkFilter {
            subscription: SubscriptionId(self.subscription_id),
            states: states.flatten().unwrap_or(action.states()),
            event_type: event_type.flatten(),
            failure_classes: classes.flatten().unwrap_or_default(),
            created_from: time(self.created_from),
            created_to: time(self.created_to),
        };
        Ok((filter, self.reason))
    }
}

/// Starts one; 202 with where it can be watched, below `path`.
pub(super) async fn start<D>(
    state: &State,
    caller: &Caller,
    action: BulkAction,
    request: BulkRequest,
    path: &str,
) -> Result<Response, Problem>
where
    for<'a> D: From<&'a Bulk> + Serialize,
{
    let (filter, reason) = request.filter(action)?;
    let started = bulk::start(&state.tools, caller, action, filter, reason).await;
    let started = started.map_err(|error| match error {
        BulkError::Invalid(invalid) => Problem::from(invalid),
        BulkError::LimitReached(limit) => Problem::too_many_requests(limit.to_string(), RETRY_AFTER),
        BulkError::Store(error) => error.into(),
    })?;
    let bulk = started.ok_or_else(no_subscription)?;
    let location =
        HeaderValue::try_from(format!("{path}/{}", bulk.id)).expect("a path of letters, digits and dashes");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(D::from(&bulk))).into_response())
}

/// A page of them.
pub(super) async fn list<D>(
    state: &State,
    caller: &Caller,
    action: BulkAction,
    query: BulksQuery,
) -> Result<Json<List<D>>, Problem>
where
    for<'a> D: From<&'a Bulk>,
{
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let filter = BulksFilter {
        action,
        owner: narrowed(caller, query.merchant)?,
        subscription: query.subscription_id.map(SubscriptionId),
    };
    let rows = state.tools.store.bulks(&filter, page).await?;
    Ok(Json(List::new(rows, page, |bulk| bulk.id).map(|bulk| D::from(&bulk))))
}

/// One of them.
pub(super) async fn show<D>(
    state: &State,
    caller: &Caller,
    action: BulkAction,
    id: Uuid,
) -> Result<Json<D>, Problem>
where
    for<'a> D: From<&'a Bulk>,
{
    let found = state.tools.store.bulk(action, id, caller.merchant()).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no such {}", action.as_str())))?;
    Ok(Json((&found).into()))
}
