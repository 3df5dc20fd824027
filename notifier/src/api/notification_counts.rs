//! How many notifications each subscription has in each state.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use runtime::Problem;
use runtime::http::described::{Cursor, ForeignMerchant, KeyedProblems, Limit, MerchantName, QueryProblems};
use runtime::http::{Json, List, Page, Query};
use runtime::keys::Caller;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::{NotificationWord, State as StateWord, SubscriptionName};
use super::health_document::HealthDocument;
use super::subscription_ref::{SubscriptionRef, find_optional};
use super::{State, narrowed};
use crate::domain::counts::CAP;
use crate::domain::notification::StateName;
use crate::domain::{Counts, Health, SubscriptionCounts, Undelivered};
use crate::store::CountsFilter;

/// Whose notifications, and which page of subscriptions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CountsQuery {
    /// Only this merchant's; with a merchant's key, its own name or absent
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// Only those of this subscription: its id, or `name:` and its name
    #[param(value_type = Option<SubscriptionRef>)]
    subscription_id: Option<SubscriptionRef>,
    /// Where the page starts: the `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many subscriptions at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// A subscription and how many notifications it has in each state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionCounts)]
pub struct SubscriptionCountsDocument {
    /// The subscription.
    subscription_id: Uuid,
    /// Its name, unique per merchant.
    #[schema(value_type = SubscriptionName)]
    name: String,
    /// Whose it is; `null`: the operator's.
    #[schema(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// `active`, `paused` or `disabled`.
    #[schema(value_type = StateWord)]
    state: &'static str,
    /// How many it has in each state.
    counts: CountsDocument,
    /// The states of which there may be more: counting stopped at 10000.
    #[schema(value_type = Vec<NotificationWord>)]
    capped: Vec<&'static str>,
    /// Why it is disabled.
    disabled_reason: Option<String>,
    /// How its endpoint does.
    health: HealthDocument,
    /// When the oldest came in of what is not delivered: pending, delivering, held and exhausted.
    oldest_at: Option<DateTime<Utc>>,
    /// What of that is about money, added up in minor units by currency: the `amount` and `currency` of the events' data.
    #[schema(value_type = BTreeMap<String, i64>, example = json!({"CNY": 3000}))]
    amounts: BTreeMap<String, i128>,
    /// Whether `amounts` may be more: of what waits, and of what is exhausted, the oldest 1000 each are added up, and
    /// events over 16 KiB are not.
    amounts_capped: bool,
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

impl SubscriptionCountsDocument {
    fn new(of: SubscriptionCounts, health: Option<&Health>, undelivered: Undelivered) -> Self {
        Self {
            disabled_reason: of.state.disabled_reason().map(str::to_owned),
            health: HealthDocument::new(health),
            oldest_at: undelivered.oldest_at,
            amounts: undelivered.amounts,
            amounts_capped: undelivered.capped,
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
/// to 10000; `capped` names those of which there may be more. `amounts` is the money that what is not delivered is about.
#[utoipa::path(
    get,
    path = "/v1/notifications/counts",
    operation_id = "countNotifications",
    tag = "notifications",
    security(("key" = [])),
    params(CountsQuery),
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
    let subscription = find_optional(query.subscription_id.as_ref(), &*state.tools.store, &caller).await?;
    let filter = CountsFilter { owner, subscription };
    let store = &state.tools.store;
    let rows = store.counts(&filter, page, CAP, state.tools.sources.clock.now()).await?;
    let List { items, next_cursor } = List::new(rows, page, |of| of.id.0);
    let ids: Vec<_> = items.iter().map(|of| of.id).collect();
    let health = store.health(&ids).await?;
    let mut counted = Vec::with_capacity(items.len());
    for of in items {
        let has_any = of.counts.has_undelivered();
        let undelivered = if has_any { store.undelivered(of.id).await? } else { Undelivered::default() };
        let health = health.get(&of.id);
        counted.push(SubscriptionCountsDocument::new(of, health, undelivered));
    }
    Ok(Json(List { items: counted, next_cursor }))
}
