//! What was done to a subscription.

use chrono::{DateTime, Utc};
use runtime::Problem;
use runtime::http::described::{Cursor, KeyedProblems, Limit, QueryProblems};
use runtime::http::{Json, List, Page, Path, Query};
use runtime::keys::Caller;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::SubscriptionActionWord;
use super::subscription_ref::SubscriptionRef;
use super::{State, no_subscription};
use crate::domain::SubscriptionAudit;

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditsQuery {
    /// Where the page starts: the `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// What was done to a subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubscriptionAudit)]
pub struct SubscriptionAuditDocument {
    /// The entry's own id.
    id: Uuid,
    /// `create`, `change`, `activate`, `pause`, `disable`, `rotate_secret` or `delete`.
    #[schema(value_type = SubscriptionActionWord)]
    action: &'static str,
    /// The fields that a change named.
    #[schema(example = json!(["state"]))]
    changed: Vec<String>,
    /// `operator`, `operator:<name>`, `merchant:<name>`, or `notifier`, which disables by itself.
    #[schema(example = "operator")]
    actor: String,
    /// Why, as they said.
    reason: Option<String>,
    /// When.
    at: DateTime<Utc>,
}

impl From<SubscriptionAudit> for SubscriptionAuditDocument {
    fn from(audit: SubscriptionAudit) -> Self {
        let SubscriptionAudit { id, action, changed, actor, reason, at } = audit;
        Self { id, action: action.as_str(), changed, actor, reason, at }
    }
}

/// List what was done to a subscription, newest first
///
/// Also after it was deleted.
#[utoipa::path(
    get,
    path = "/v1/subscriptions/{id}/audits",
    operation_id = "listSubscriptionAudits",
    tag = "subscriptions",
    security(("key" = [])),
    params(("id" = SubscriptionRef, Path, description = "The subscription: its id, or `name:` and its name"), AuditsQuery),
    responses(
        (status = 200, description = "A page of the audit trail", body = List<SubscriptionAuditDocument>),
        (status = 404, description = "Never there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Path(named): Path<SubscriptionRef>,
    Query(query): Query<AuditsQuery>,
) -> Result<Json<List<SubscriptionAuditDocument>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let store = &state.tools.store;
    let id = named.find(&**store, &caller).await?;
    let audits = store.subscription_audits(id, caller.merchant(), page).await?;
    let list = List::new(audits.ok_or_else(no_subscription)?, page, |audit| audit.id);
    Ok(Json(list.map(Into::into)))
}
