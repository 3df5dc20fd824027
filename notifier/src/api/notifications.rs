//! The notification log.

use messaging::event::MAX_TEXT;
use runtime::Problem;
use runtime::http::described::{Cursor, ForeignMerchant, KeyedProblems, Limit, MerchantName, QueryProblems};
use runtime::http::extract::{ListQuery, Lists};
use runtime::http::{Json, List, Page, Path, Timestamp};
use runtime::keys::Caller;
use runtime::validation::{Invalid, Violations, text};
use serde::Deserialize;
use uuid::Uuid;

use super::described::{EventId, Failure, Pattern, StateFilter, Subject};
use super::documents::{NotificationDocument, NotificationWithAttempts, time};
use super::subscription_ref::{SubscriptionRef, find_optional};
use super::words::{self, split};
use super::{State, narrowed, no_notification};
use crate::domain::NotificationId;
use crate::store::NotificationFilter;

/// Which notifications, and which page of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NotificationsQuery {
    /// Only this merchant's; with a merchant's key, its own name or absent
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// Only those in these states, separated by commas or each in a parameter of its own; `undelivered`
    /// stands for all but `delivered` and `cancelled`
    #[param(value_type = Option<Vec<StateFilter>>, style = Form, explode = false, min_items = 1)]
    state: Option<String>,
    /// Only those of this subscription: its id, or `name:` and its name
    #[param(value_type = Option<SubscriptionRef>)]
    subscription_id: Option<SubscriptionRef>,
    /// Only those about events of this type, or of a family such as `recharge.*`
    #[param(value_type = Option<Pattern>)]
    event_type: Option<String>,
    /// Only those whose last attempt failed for one of these reasons, and those not tried yet that wait behind an
    /// endpoint which did; written like `state`
    #[param(value_type = Option<Vec<Failure>>, style = Form, explode = false, min_items = 1)]
    failure_class: Option<String>,
    /// Only those about this subject, such as a `tx_no`
    #[param(value_type = Option<Subject>)]
    subject: Option<String>,
    /// Only those about the event with this id
    #[param(value_type = Option<EventId>)]
    event_id: Option<String>,
    /// Only those that came in then or later
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those that came in before then
    #[param(value_type = Option<String>, format = DateTime)]
    created_to: Option<Timestamp>,
    /// Where the page starts: the `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// List notifications, newest first
#[utoipa::path(
    get,
    path = "/v1/notifications",
    operation_id = "listNotifications",
    tag = "notifications",
    security(("key" = [])),
    params(NotificationsQuery),
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
    ListQuery(query): ListQuery<NotificationsQuery>,
) -> Result<Json<List<NotificationDocument>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let subscription = find_optional(query.subscription_id.as_ref(), &*state.tools.store, &caller).await?;
    let filter = NotificationFilter { subscription, ..query.filter(&caller)? };
    let rows = state.tools.store.notifications(&filter, page, state.tools.sources.clock.now()).await?;
    let list = List::new(rows, page, |notification| notification.id.0);
    Ok(Json(list.map(|one| NotificationDocument::from(&state.tools.within_bounds(one)))))
}

impl Lists for NotificationsQuery {
    const LISTS: &'static [&'static str] = &["state", "failure_class"];
}

impl NotificationsQuery {
    fn filter(self, caller: &Caller) -> Result<NotificationFilter, Problem> {
        let mut wrong = Violations::new();
        let states = self.state.map(|text| wrong.take(words::states(&split(&text))));
        let event_type = self.event_type.map(|text| wrong.take(words::event_type(&text)));
        wrong.take(given("subject", self.subject.as_deref()));
        wrong.take(given("event_id", self.event_id.as_deref()));
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

/// Refuses what no event can have.
fn given(parameter: &str, value: Option<&str>) -> Result<(), Invalid> {
    value.map_or(Ok(()), |value| text(parameter, value, MAX_TEXT))
}

/// Show a notification with its event, every attempt and what people did to it
#[utoipa::path(
    get,
    path = "/v1/notifications/{id}",
    operation_id = "getNotification",
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
