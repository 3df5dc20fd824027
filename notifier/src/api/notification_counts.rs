//! How many notifications each subscription has in each state.

use runtime::Problem;
use runtime::http::described::{ForeignMerchant, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Page, Query};
use runtime::keys::Caller;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{State, narrowed};
use crate::domain::counts::CAP;
use crate::domain::notification::StateName;
use crate::domain::{Counts, SubscriptionCounts, SubscriptionId};
use crate::store::CountsFilter;

/// Whose notifications, and which page of subscriptions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CountsQuery {
    /// Only this merchant's; with a merchant's key, its own name or absent
    merchant: Option<String>,
    /// Only those of this subscription
    subscription_id: Option<Uuid>,
    /// Where the page starts: the `next_cursor` of the page before
    cursor: Option<String>,
    /// How many subscriptions at most, 1 to 200; 50 if absent
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
}

/// A subscription and how many notifications it has in each state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionCounts)]
pub struct SubscriptionCountsDocument {
    /// The subscription.
    subscription_id: Uuid,
    /// Its name, unique per merchant.
    #[schema(example = "orders")]
    name: String,
    /// Whose it is; `null`: the operator's.
    merchant: Option<String>,
    /// `active`, `paused` or `disabled`.
    #[schema(example = "active")]
    state: &'static str,
    /// How many it has in each state.
    counts: CountsDocument,
    /// The states of which there may be more: counting stopped at 10000.
    #[schema(example = json!(["delivered"]))]
    capped: Vec<&'static str>,
}

/// Notifications by state, each counted up to 10000.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Counts)]
pub struct CountsDocument {
    /// Wait for their next attempt.
    pending: u32,
    /// An attempt is under way.
    delivering: u32,
    /// Wait for their subscription, which is paused or disabled.
    held: u32,
    /// The last step of the ladder failed.
    exhausted: u32,
    /// Given up by a person.
    cancelled: u32,
    /// Acknowledged.
    delivered: u32,
}

impl From<&Counts> for CountsDocument {
    fn from(counts: &Counts) -> Self {
        Self {
            pending: counts.pending.counted,
            delivering: counts.delivering.counted,
            held: counts.held.counted,
            exhausted: counts.exhausted.counted,
            cancelled: counts.cancelled.counted,
            delivered: counts.delivered.counted,
        }
    }
}

impl From<SubscriptionCounts> for SubscriptionCountsDocument {
    fn from(of: SubscriptionCounts) -> Self {
        Self {
            subscription_id: of.id.0,
            name: of.name,
            merchant: of.merchant,
            state: of.state.as_str(),
            counts: (&of.counts).into(),
            capped: of.counts.capped().map(StateName::as_str).collect(),
        }
    }
}

/// Count notifications by subscription and state
///
/// Subscriptions that are not deleted, newest first, also those that have none. Each state is counted up
/// to 10000; `capped` names those of which there may be more.
#[utoipa::path(
    get,
    path = "/v1/notifications/counts",
    tag = "notifications",
    security(("key" = [])),
    responses(
        (status = 200, description = "A page of subscriptions with their counts", body = List<SubscriptionCountsDocument>),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Query(query): Query<CountsQuery>,
) -> Result<Json<List<SubscriptionCountsDocument>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let owner = narrowed(&caller, query.merchant)?;
    let filter = CountsFilter { owner, subscription: query.subscription_id.map(SubscriptionId) };
    let rows = state.tools.store.counts(&filter, page, CAP, state.tools.sources.clock.now()).await?;
    Ok(Json(List::new(rows, page, |of| of.id.0).map(Into::into)))
}
