//! Events as callers write them, and what becomes of them before they are kept.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use messaging::Event;
use messaging::event::NotAnEvent;
use runtime::http::extract::fields;
use runtime::keys::Caller;
use runtime::validation::{FieldError, Invalid, Violations};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::NewEvent;
use crate::domain::event::webhook_id;
use crate::domain::operator_event::is_for_operators;

/// So many wrong fields are named at most.
const MAX_NAMED: usize = 50;
/// The largest event, in bytes.
const MAX_EVENT_BYTES: usize = runtime::http::BODY_LIMIT;
/// What the types of pay-service begin with.
const RECHARGES: &str = "recharge.";
/// The longest source, in characters.
const MAX_SOURCE: usize = 255;

/// An event in the JSON format of `CloudEvents` 1.0. Extensions that are not named here are passed over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CloudEvent, example = json!({
    "specversion": "1.0", "id": "order-7", "source": "/orders", "type": "order.paid", "time": "2026-01-02T03:04:05Z",
    "data": { "total": 3000 }
}))]
pub struct CloudEvent {
    #[schema(pattern = "^1\\.0$", example = "1.0")]
    specversion: String,
    /// Unique together with `source`: visible ASCII without `.`
    #[schema(min_length = 1, max_length = 255, pattern = "^[!-\\-/-~]+$", example = "order-7")]
    id: String,
    /// Who publishes it; a merchant's is kept with `/merchants/NAME/` in front
    #[schema(min_length = 1, max_length = 255, example = "/orders")]
    source: String,
    /// What happened; not `recharge.*` or `ringback.*`
    #[schema(
        rename = "type",
        min_length = 1,
        max_length = 255,
        pattern = "^[A-Za-z0-9._-]+$",
        example = "order.paid"
    )]
    r#type: String,
    /// When it happened; the time of the request if absent
    time: Option<DateTime<Utc>>,
    /// What it happened to
    #[schema(min_length = 1, max_length = 255, example = "order-7")]
    subject: Option<String>,
    /// A JSON media type
    #[schema(example = "application/json")]
    datacontenttype: Option<String>,
    /// Whose affair it is, with the operator key; with a merchant's key its own name or absent
    #[schema(min_length = 1, max_length = 255, example = "shop")]
    merchant: Option<String>,
    /// The W3C trace context it happened in
    traceparent: Option<String>,
    /// What receivers get, byte for byte
    #[schema(value_type = Value)]
    data: Option<Box<RawValue>>,
}

/// What comes in by one request.
pub(super) struct Incoming<'a> {
    pub(super) caller: &'a Caller,
    pub(super) now: DateTime<Utc>,
}

impl Incoming<'_> {
    /// Reads events; `place` is what the names of the fields of each begin with.
    pub(super) fn read(
        &self,
        texts: &[Box<RawValue>],
        place: impl Fn(usize) -> String,
    ) -> Result<Vec<NewEvent>, Invalid> {
        let (mut events, mut wrong) = (Vec::with_capacity(texts.len()), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            match self.event(text.get()) {
                Ok(event) => events.push(NewEvent::from(&event)),
                Err(Invalid(errors)) => {
                    wrong.extend(errors.into_iter().map(|error| named(&place(index), error)));
                }
            }
            if wrong.len() >= MAX_NAMED {
                break;
            }
        }
        if wrong.is_empty() { Ok(events) } else { Err(Invalid(wrong)) }
    }

    /// The event as it is kept.
    fn event(&self, text: &str) -> Result<Event, Invalid> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(Invalid::field("", format!("must not exceed {MAX_EVENT_BYTES} bytes")));
        }
        let mut event = parse(&self.with_time(text))?;
        let mut wrong = Violations::new();
        let reserved = event.kind.starts_with(RECHARGES) || is_for_operators(&event.kind);
        wrong.require(
            !reserved,
            "type",
            "must not begin with recharge. or ringback., which belong to the services",
        );
        wrong.take(webhook_id(&event.id).map_err(|reason| Invalid::field("id", reason)));
        if let Some(own) = self.caller.merchant() {
            let is_own = event.merchant.as_deref().is_none_or(|named| named == own);
            wrong.require(is_own, "merchant", "must be your own name, or absent");
            event.merchant = Some(own.to_owned());
            event.source = own_source(own, &event.source);
            let fits = event.source.chars().count() <= MAX_SOURCE;
            let right = format!("must have at most {MAX_SOURCE} characters with /merchants/{own}/ in front");
            wrong.require(fits, "source", right);
        }
        wrong.finish()?;
        Ok(event)
    }

    /// `CloudEvents` lets the time be left out; it is then that of the request.
    fn with_time<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let timeless = serde_json::from_str(text).is_ok_and(|Timed { time }| !time);
        match text.trim_ascii_start().strip_prefix('{') {
            Some(rest) if timeless && !rest.trim_ascii_start().starts_with('}') => {
                let now = self.now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                format!("{{\"time\":\"{now}\",{rest}").into()
            }
            _ => text.into(),
        }
    }
}

/// A merchant's source as it is kept: no merchant can speak for another, or for a service.
fn own_source(merchant: &str, source: &str) -> String {
    let own = format!("/merchants/{merchant}/");
    if source.starts_with(&own) {
        return source.to_owned();
    }
    own + source.strip_prefix('/').unwrap_or(source)
}

/// Reads an event; names the field that is wrong.
fn parse(text: &str) -> Result<Event, Invalid> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Invalid::field("", "must be a JSON object"));
    }
    Event::parse(text.as_bytes()).map_err(|error| match error {
        NotAnEvent::Unreadable(error) => {
            let unreadable = |_: Event| Invalid::field("", error.to_string());
            fields::<Event>(text).map_or_else(|invalid| invalid, unreadable)
        }
        // The rules begin with the name of the attribute.
        NotAnEvent::Invalid(rule) => {
            let (field, right) = rule.split_once(' ').unwrap_or(("", rule));
            Invalid::field(field, right)
        }
    })
}

/// The name of a field with what it begins with; where the event itself is wrong, its place.
fn named(place: &str, FieldError { field, message }: FieldError) -> FieldError {
    let field = match (place, field.as_str()) {
        ("", "" | "body") => "body".to_owned(),
        (place, "" | "body") => place.trim_end_matches('.').to_owned(),
        (place, field) => format!("{place}{field}"),
    };
    FieldError { field, message }
}

#[derive(Deserialize)]
struct Timed {
    #[serde(default, deserialize_with = "is_there")]
    time: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchants_source_begins_with_its_name_once() {
        for (source, kept) in [
            ("/orders", "/merchants/shop/orders"),
            ("orders", "/merchants/shop/orders"),
            ("/merchants/shop/orders", "/merchants/shop/orders"),
            ("/merchants/bank/orders", "/merchants/shop/merchants/bank/orders"),
            ("/pay-service", "/merchants/shop/pay-service"),
            ("https://shop.example", "/merchants/shop/https://shop.example"),
        ] {
            assert_eq!(own_source("shop", source), kept);
        }
    }
}
