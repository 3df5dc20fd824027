//! A subscriber's own events, to find what it missed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use runtime::Problem;
use runtime::http::described::{ForeignMerchant, KeyedProblems, Limit, MerchantName, QueryProblems};
use runtime::http::{Json, Page, Query};
use runtime::keys::Caller;
use runtime::validation::{Invalid, Violations};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::words::split;
use super::{State, narrowed};
use crate::domain::EventPattern;
use crate::domain::event::data_of;
use crate::domain::feed::{FeedEvent, FeedPage, FeedPosition, FeedQuery};
use crate::domain::subscription::MAX_EVENT_TYPES;

/// Changes when the meaning of a cursor does, so that an old one is refused instead of misread.
const CURSOR_VERSION: u8 = 1;

/// Which events, and from where on.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedParameters {
    /// Where the page starts: the `next_cursor` of any page before; from the oldest event that is kept if absent
    after: Option<String>,
    /// Only those of any of these types, 1 to 50 separated by commas: a type, a family such as `order.*`, or `*`, which
    /// is all but `ringback.*`, and the same as none
    #[param(example = "recharge.*,order.paid")]
    event_types: Option<String>,
    /// Whose: required with the operator key; with a merchant's key, its own name or absent
    #[param(value_type = Option<MerchantName>)]
    merchant: Option<String>,
    /// How many at most, 1 to 200; 50 if absent
    #[param(value_type = Option<Limit>)]
    limit: Option<u16>,
}

/// A page of the feed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Feed)]
pub struct FeedDocument {
    /// The events, in the order in which they were kept, oldest first.
    items: Vec<FeedEventDocument>,
    /// Where to go on, now or later: never `null`, also where there is no event yet.
    next_cursor: String,
    /// Whether there may be more by now. A page may hold fewer than `limit`, or none, and have more behind it.
    has_more: bool,
}

/// An event of the feed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeedEvent)]
pub struct FeedEventDocument {
    /// Its id, which receivers know as `webhook-id`.
    id: String,
    /// Who published it.
    source: String,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "recharge.succeeded")]
    kind: String,
    /// When it happened.
    time: DateTime<Utc>,
    /// What it happened to.
    subject: Option<String>,
    /// When the notifier kept it.
    received_at: DateTime<Utc>,
    /// As it was published.
    #[schema(value_type = Value)]
    data: Option<Box<RawValue>>,
    /// Whether it went to a subscription of the merchant, and every one that it went to has acknowledged it, as it
    /// stands now. `false` also where none matched when it came in.
    delivered: bool,
    /// To how many of the merchant's subscriptions it went.
    subscriptions: u64,
}

impl From<&FeedEvent> for FeedEventDocument {
    fn from(of: &FeedEvent) -> Self {
        let event = of.event.clone();
        Self {
            id: event.id,
            source: event.source,
            kind: event.kind,
            time: event.time,
            subject: event.subject,
            received_at: of.received_at,
            data: std::str::from_utf8(&event.body).ok().and_then(data_of),
            delivered: of.is_delivered(),
            subscriptions: of.subscriptions,
        }
    }
}

impl From<&FeedPage> for FeedDocument {
    fn from(page: &FeedPage) -> Self {
        Self {
            items: page.events.iter().map(Into::into).collect(),
            next_cursor: encode(page.next),
            has_more: page.has_more,
        }
    }
}

/// Read a merchant's own events, oldest first
///
/// Whether they were delivered or not, and whether a subscription matched or not. No event ever appears behind a cursor.
/// Keep the `next_cursor` of the last page, and go on there later.
#[utoipa::path(
    get,
    path = "/v1/feed",
    operation_id = "readFeed",
    tag = "events",
    security(("key" = [])),
    params(FeedParameters),
    responses(
        (status = 200, description = "A page of the feed", body = FeedDocument),
        ForeignMerchant,
        KeyedProblems,
        QueryProblems,
    )
)]
pub async fn read(
    state: State,
    caller: Caller,
    Query(parameters): Query<FeedParameters>,
) -> Result<Json<FeedDocument>, Problem> {
    let page = state.tools.store.feed(&parameters.query(&caller)?).await?;
    if page.is_set_back {
        let right =
            "lies after every event, since the database was restored from a backup: begin again without it";
        return Err(Problem::malformed_query(Invalid::field("after", right)));
    }
    Ok(Json((&page).into()))
}

impl FeedParameters {
    fn query(self, caller: &Caller) -> Result<FeedQuery, Problem> {
        let limit = Page::parse(self.limit, None)?.limit;
        let mut wrong = Violations::new();
        let after = self.after.map(|text| wrong.take(decode(&text)));
        let types = self.event_types.map(|text| wrong.take(types(&text)));
        wrong.finish().map_err(Problem::malformed_query)?;
        let required = || Invalid::field("merchant", "is required with the operator key");
        Ok(FeedQuery {
            merchant: narrowed(caller, self.merchant)?.ok_or_else(|| Problem::malformed_query(required()))?,
            types: types.flatten().unwrap_or_default(),
            after: after.flatten().unwrap_or(FeedPosition::START),
            limit,
        })
    }
}

fn types(text: &str) -> Result<Vec<EventPattern>, Invalid> {
    let patterns: Result<Vec<EventPattern>, _> = split(text).iter().map(|word| word.parse()).collect();
    match patterns {
        Ok(patterns) if patterns.len() <= MAX_EVENT_TYPES => Ok(patterns),
        Ok(_) => Err(Invalid::field("event_types", format!("must be at most {MAX_EVENT_TYPES} types"))),
        Err(error) => Err(Invalid::field("event_types", error.to_string())),
    }
}

fn encode(FeedPosition { batch, key }: FeedPosition) -> String {
    URL_SAFE_NO_PAD.encode([&[CURSOR_VERSION][..], &batch.to_be_bytes(), key.as_bytes()].concat())
}

fn decode(cursor: &str) -> Result<FeedPosition, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
    let read = || {
        let (version, rest) = bytes.split_first()?;
        let (batch, key) = rest.split_first_chunk()?;
        let key = Uuid::from_slice(key).ok()?;
        (*version == CURSOR_VERSION).then_some(FeedPosition { batch: i64::from_be_bytes(*batch), key })
    };
    read().ok_or_else(|| Invalid::field("after", "must be a next_cursor that the feed answered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_place_that_it_was_made_of_and_no_other_text_is_one() {
        for place in [FeedPosition::START, FeedPosition { batch: i64::MAX, key: Uuid::max() }] {
            assert_eq!(decode(&encode(place)), Ok(place));
        }
        for text in ["", "x", "AAAA", &encode(FeedPosition::START)[1..]] {
            decode(text).expect_err(text);
        }
    }
}
