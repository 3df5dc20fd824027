//! What replays and cancellations have in common.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime::Problem;
use runtime::http::described::{Cursor, Limit, MerchantName};
use runtime::http::{Json, List, Page, Timestamp};
use runtime::keys::Caller;
use runtime::validation::Violations;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::documents::time;
use super::subscription_ref::{SubscriptionRef, find_optional};
use super::words::{self, Words};
use super::{State, narrowed, no_subscription};
use crate::domain::{Bulk, BulkAction, BulkFilter};
use crate::store::BulksFilter;
use crate::usecases::bulk::{self, BulkError};

/// When to ask again while as many run as may.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Which notifications a request means, as it says so.
pub(super) struct Wanted {
    pub(super) subscription: Option<SubscriptionRef>,
    pub(super) state: Option<Words>,
    pub(super) event_type: Option<String>,
    pub(super) failure_class: Option<Words>,
    pub(super) created_from: Option<Timestamp>,
    pub(super) created_to: Option<Timestamp>,
}

/// Which of them, and which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BulksQuery {
    /// Only those of this merchant's subscriptions; with a merchant's key, its own name or absent
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// Only those of this subscription: its id, or `name:` and its name
    #[param(value_type = Option<SubscriptionRef>)]
    subscription_id: Option<SubscriptionRef>,
    /// Where the page starts: the `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

impl Wanted {
    pub(super) async fn filter(
        self,
        state: &State,
        caller: &Caller,
        action: BulkAction,
    ) -> Result<BulkFilter, Problem> {
        let mut wrong = Violations::new();
        let states = self.state.map(|words| wrong.take(words::states(&words.0)));
        let event_type = self.event_type.map(|text| wrong.take(words::event_type(&text)));
        let classes = self.failure_class.map(|words| wrong.take(words::failure_classes(&words.0)));
        wrong.finish()?;
        Ok(BulkFilter {
            subscription: find_optional(self.subscription.as_ref(), &*state.tools.store, caller).await?,
            states: states.flatten().unwrap_or(action.states()),
            event_type: event_type.flatten(),
            failure_classes: classes.flatten().unwrap_or_default(),
            created_from: time(self.created_from),
            created_to: time(self.created_to),
        })
    }
}

/// Starts one; 202 with where it can be watched, below `path`.
pub(super) async fn start<D>(
    state: &State,
    caller: &Caller,
    action: BulkAction,
    (wanted, reason): (Wanted, Option<String>),
    path: &str,
) -> Result<Response, Problem>
where
    for<'a> D: From<&'a Bulk> + Serialize,
{
    let filter = wanted.filter(state, caller, action).await?;
    let started = bulk::start(&state.tools, caller, action, filter, reason).await.map_err(problem)?;
    let bulk = started.ok_or_else(no_subscription)?;
    let location =
        HeaderValue::try_from(format!("{path}/{}", bulk.id)).expect("a path of letters, digits and dashes");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(D::from(&bulk))).into_response())
}

/// What is wrong with a request.
pub(super) fn problem(error: BulkError) -> Problem {
    match error {
        BulkError::Invalid(invalid) => invalid.into(),
        BulkError::LimitReached(limit) => Problem::too_many_requests(limit.to_string(), RETRY_AFTER),
        BulkError::Store(error) => error.into(),
    }
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
        subscription: find_optional(query.subscription_id.as_ref(), &*state.tools.store, caller).await?,
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
