//! The notification log.

use runtime::Problem;
use runtime::http::described::{ForeignMerchant, KeyedProblems, QueryProblems};
use runtime::http::{Json, List, Page, Path, Query, Timestamp};
use runtime::keys::Caller;
use runtime::validation::Violations;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::documents::{NotificationDocument, NotificationWithAttempts, time};
use super::subscription_ref::{SubscriptionRef, find_optional};
use super::words::{self, split};
use super::{State, narrowed, no_notification};
use crate::domain::NotificationId;
use crate::store::NotificationFilter;

/// Which notifications, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NotificationsQuery {
    /// Only this merchant's; with a merchant's key, its own name or absent
    merchant: Option<String>,
    /// Only those in these states, separated by commas: `pending`, `delivering`, `held`, `delivered`,
    /// `exhausted`, `cancelled`; `undelivered` stands for all but `delivered` and `cancelled`
    #[param(example = "undelivered")]
    state: Option<String>,
    /// Only those of this subscription: its id, or `name:` and its name
    #[param(value_type = Option<String>, example = "name:orders")]
    subscription_id: Option<SubscriptionRef>,
    /// Only those about events of this type, or of a family such as `recharge.*`
    #[param(example = "recharge.*")]
    event_type: Option<String>,
    /// Only those whose last attempt failed for one of these reasons, and those not tried yet that wait behind an
    /// endpoint which did, separated by commas: `dns`,
    /// `connect`, `tls`, `timeout`, `status`, `ack_mismatch`, `blocked_target`, `body`, `protocol`, `proxy`
    #[param(example = "dns,connect")]
    failure_class: Option<String>,
    /// Only those about this subject, such as a `tx_no`
    subject: Option<String>,
    /// Only those about the event with this id
    event_id: Option<String>,
    /// Only those that came in then or later
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those that came in before then
    #[param(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
    /// Where the page starts: the `next_cursor` of the page before
    cursor: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
}

/// List notifications, newest first
#[utoipa::path(
    get,
    path = "/v1/notifications",
    tag = "notifications",
    security(("key" = [])),
    responses(
        (status = 200, description = "A page of notifications", body = List<NotificationDocument>),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Query(query): Query<NotificationsQuery>,
) -> Result<Json<List<NotificationDocument>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let subscription = find_optional(query.subscription_id.as_ref(), &*state.tools.store, &caller).await?;
    let filter = NotificationFilter { subscription, ..query.filter(&caller)? };
    let rows = state.tools.store.notifications(&filter, page, state.tools.sources.clock.now()).await?;
    let list = List::new(rows, page, |notification| notification.id.0);
    Ok(Json(list.map(|one| NotificationDocument::from(&state.tools.within_bounds(one)))))
}

impl NotificationsQuery {
    fn filter(self, caller: &Caller) -> Result<NotificationFilter, Problem> {
        let mut wrong = Violations::new();
        let states = self.state.map(|text| wrong.take(words::states(&split(&text))));
        let event_type = self.event_type.map(|text| wrong.take(words::event_type(&text)));
        let classes = self.failure_class.map(|text| wrong.take(words::failure_classes(&split(&text))));
        wrong.finish().map_err(Problem::malformed_query)?;
        Ok(NotificationFilter {
            owner: narrowed(caller, self.merchant)?,
            states: states.flatten().unwrap_or_default(),
            subscription: None,
            event_type: event_type.flatten(),
            failure_classes: classes.flatten().unwrap_or_default(),
            subject: self.subject,
            event_id: self.event_id,
            created_from: time(self.created_from),
            created_to: time(self.created_to),
        })
    }
}

/// Show a notification with its event, every attempt and what people did to it
#[utoipa::path(
    get,
    path = "/v1/notifications/{id}",
    tag = "notifications",
    security(("key" = [])),
    params(("id" = Uuid, Path, description = "The notification")),
    responses(
        (status = 200, description = "The notification", body = NotificationWithAttempts),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    )
)]
pub async fn show(
    state: State,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<NotificationWithAttempts>, Problem> {
    let tools = &state.tools;
    let now = tools.sources.clock.now();
    let found = tools.store.notification(NotificationId(id), caller.merchant(), now).await?;
    let mut found = found.ok_or_else(no_notification)?;
    found.notification = tools.within_bounds(found.notification);
    Ok(Json((&found).into()))
}
