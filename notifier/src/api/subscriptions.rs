//! Making and reading subscriptions.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use messaging::webhook::Scheme;
use runtime::Problem;
use runtime::duration::HumanDuration;
use runtime::http::described::{
    BodyProblems, Cursor, ForeignMerchant, KeyedProblems, Limit, MerchantName, QueryProblems,
};
use runtime::http::{Json, List, Page, Path, Query};
use runtime::keys::{Caller, is_merchant_name};
use runtime::validation::{Invalid, text};
use serde::Deserialize;
use utoipa::ToSchema;

use super::described::{
    Headers, InFlight, Ladder, Patterns, Rate, Signature, SubscriptionName, SubscriptionNote, Timeout, Url,
};
use super::described_ack::Ack;
use super::documents::SubscriptionDocument;
use super::signing_documents::CreatedSubscription;
use super::subscription_ref::SubscriptionRef;
use super::{State, narrowed, no_subscription};
use crate::domain::subscription::{Draft, MAX_NAME};
use crate::domain::{AckRule, Schedule, Subscription};
use crate::store::SubscriptionFilter;
use crate::usecases::Tools;
use crate::usecases::subscribe::{SubscribeError, subscribe};

/// A new subscription.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "orders", "url": "https://shop.example/hooks", "event_types": ["recharge.*"], "ladder": "standard",
    "ack": { "json": { "pointer": "/code", "equals": "SUCCESS" } }
}))]
pub struct CreateSubscription {
    /// Unique per merchant
    #[schema(value_type = SubscriptionName)]
    name: String,
    /// An `http` or `https` URL of at most 2048 bytes, without user and fragment
    #[schema(value_type = Url)]
    url: String,
    /// Which events are asked for
    #[schema(value_type = Patterns)]
    event_types: Vec<String>,
    /// A note for people
    #[schema(value_type = Option<SubscriptionNote>)]
    description: Option<String>,
    /// `standard` if absent
    #[schema(value_type = Option<Ladder>)]
    ladder: Option<Schedule>,
    /// `status` if absent
    #[schema(value_type = Option<Ack>)]
    ack: Option<AckRule>,
    /// 1s to 30s; 10s if absent
    #[schema(value_type = Option<Timeout>)]
    timeout: Option<HumanDuration>,
    /// 32 if absent
    #[schema(value_type = Option<InFlight>)]
    max_in_flight: Option<u32>,
    /// Any number if absent
    #[schema(value_type = Option<Rate>)]
    rate_limit: Option<u32>,
    /// Up to 20 headers to send with every webhook
    #[schema(value_type = Option<Headers>)]
    headers: Option<BTreeMap<String, String>>,
    /// How webhooks are signed: `v1` (a shared secret, if absent) or `v1a` (a key pair)
    #[schema(value_type = Option<Signature>)]
    signature: Option<Scheme>,
    /// Whose it is, with the operator key; absent: the operator's, which receives every event
    #[schema(value_type = Option<MerchantName>)]
    merchant: Option<String>,
}

impl CreateSubscription {
    fn draft(self) -> Draft {
        let defaults = Draft::new(self.name, self.url, self.event_types);
        Draft {
            description: self.description,
            schedule: self.ladder.unwrap_or(defaults.schedule),
            ack: self.ack.unwrap_or(defaults.ack),
            timeout: self.timeout.unwrap_or(defaults.timeout),
            max_in_flight: self.max_in_flight.unwrap_or(defaults.max_in_flight),
            rate_limit: self.rate_limit,
            headers: self.headers.unwrap_or_default(),
            ..defaults
        }
    }
}

/// Subscribe
#[utoipa::path(
    post,
    path = "/v1/subscriptions",
    operation_id = "createSubscription",
    tag = "subscriptions",
    security(("key" = [])),
    request_body = CreateSubscription,
    responses(
        (status = 201, description = "Made; a secret is shown here and never again", body = CreatedSubscription, headers(("Location" = String, description = "Where it can be read"))),
        (status = 403, description = "`merchant` names another merchant", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
        BodyProblems,
    )
)]
pub async fn create(
    state: State,
    caller: Caller,
    Json(mut request): Json<CreateSubscription>,
) -> Result<Response, Problem> {
    let merchant = owner(&caller, request.merchant.take())?;
    let tools = &state.tools;
    let scheme = request.signature.unwrap_or_default();
    let made = subscribe(tools, &caller, merchant, request.draft(), scheme).await;
    let (subscription, key) = made.map_err(|error| match error {
        SubscribeError::Invalid(invalid) => invalid.into(),
        SubscribeError::NameTaken(taken) => Problem::conflict(taken.to_string()),
        SubscribeError::LimitReached(limit) => Invalid::field("merchant", limit.to_string()).into(),
        SubscribeError::Store(error) => error.into(),
    })?;
    let location = HeaderValue::try_from(format!("/v1/subscriptions/{}", subscription.id))
        .expect("a path of letters, digits and dashes");
    let body = Json(CreatedSubscription::new(&subscription, &key));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

/// Whose it is to be.
fn owner(caller: &Caller, named: Option<String>) -> Result<Option<String>, Problem> {
    match (caller, named) {
        (Caller::Merchant(own), None) => Ok(Some(own.clone())),
        (Caller::Merchant(own), Some(named)) if *own == named => Ok(Some(named)),
        (Caller::Merchant(_), Some(_)) => Err(Problem::forbidden("a merchant's key subscribes for its own")),
        (Caller::Operator(_), None) => Ok(None),
        (Caller::Operator(_), Some(named)) if is_merchant_name(&named) => Ok(Some(named)),
        (Caller::Operator(_), Some(_)) => {
            let right = "must have 1 to 64 letters, digits, `-`, `_` or `.`";
            Err(Invalid::field("merchant", right).into())
        }
    }
}

/// Show a subscription
#[utoipa::path(
    get,
    path = "/v1/subscriptions/{id}",
    operation_id = "getSubscription",
    tag = "subscriptions",
    security(("key" = [])),
    params(("id" = SubscriptionRef, Path, description = "The subscription: its id, or `name:` and its name")),
    responses(
        (status = 200, description = "The subscription", body = SubscriptionDocument),
        (status = 404, description = "Not there, or not yours", body = Problem, content_type = "application/problem+json"),
        KeyedProblems,
    )
)]
pub async fn show(
    state: State,
    caller: Caller,
    Path(named): Path<SubscriptionRef>,
) -> Result<Json<SubscriptionDocument>, Problem> {
    let id = named.find(&*state.tools.store, &caller).await?;
    let found = state.tools.store.subscription(id, caller.merchant()).await?;
    Ok(Json(document(&state.tools, &found.ok_or_else(no_subscription)?).await?))
}

/// What is shown of `subscription`.
pub(super) async fn document(
    tools: &Tools,
    subscription: &Subscription,
) -> Result<SubscriptionDocument, Problem> {
    let mut signing = tools.store.signing(&[subscription.id], tools.sources.clock.now()).await?;
    let signing = signing.remove(&subscription.id).unwrap_or_default();
    let health = tools.store.health(&[subscription.id]).await?;
    Ok(SubscriptionDocument::new(subscription, &signing, health.get(&subscription.id)))
}

/// Which subscriptions, and which page of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubscriptionsQuery {
    /// Only this merchant's; with a merchant's key, its own name or absent
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// Only those with this name
    #[param(value_type = Option<SubscriptionName>)]
    name: Option<String>,
    /// Where the page starts: the `next_cursor` of the page before
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// List subscriptions, newest first
#[utoipa::path(
    get,
    path = "/v1/subscriptions",
    operation_id = "listSubscriptions",
    tag = "subscriptions",
    security(("key" = [])),
    params(SubscriptionsQuery),
    responses(
        (status = 200, description = "A page of subscriptions", body = List<SubscriptionDocument>),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn list(
    state: State,
    caller: Caller,
    Query(query): Query<SubscriptionsQuery>,
) -> Result<Json<List<SubscriptionDocument>>, Problem> {
    let page = Page::parse(query.limit, query.cursor.as_deref())?;
    let named = query.name.as_deref().map_or(Ok(()), |name| text("name", name, MAX_NAME));
    named.map_err(Problem::malformed_query)?;
    let filter = SubscriptionFilter { merchant: narrowed(&caller, query.merchant)?, name: query.name };
    let rows = state.tools.store.subscriptions(&filter, page).await?;
    let ids: Vec<_> = rows.iter().map(|subscription| subscription.id).collect();
    let mut signing = state.tools.store.signing(&ids, state.tools.sources.clock.now()).await?;
    let health = state.tools.store.health(&ids).await?;
    let list = List::new(rows, page, |subscription| subscription.id.0);
    Ok(Json(list.map(|subscription| {
        let signing = signing.remove(&subscription.id).unwrap_or_default();
        SubscriptionDocument::new(&subscription, &signing, health.get(&subscription.id))
    })))
}
