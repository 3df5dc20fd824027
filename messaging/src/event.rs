//! The envelope: a `CloudEvents` 1.0 event in its JSON format
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Datelike, Utc};
use runtime::repeated;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The content type of an event on the broker.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The largest event that is taken from a queue, in bytes; a larger one is no event of ours.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Something that happened, as it is published. Extensions we do not know are passed over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    specversion: String,
    /// Unique together with `source`; the receivers' deduplication key.
    pub id: String,
    /// Who published it, such as `/pay-service`.
    pub source: String,
    /// What happened, such as `recharge.succeeded`. Also the routing key.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// What it happened to: the `tx_no` of a recharge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The media type of `data`; only JSON is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// Extension: the merchant whose affair it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    /// Extension: the W3C trace context it happened in; one that can't be read is passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Data that is no JSON: not taken, since it would be told as `null`.
    #[serde(default, skip_serializing)]
    data_base64: Option<IgnoredAny>,
    /// What is told about it, byte for byte as it was published.
    #[serde(default = "null")]
    pub data: Box<RawValue>,
}

/// Why a message is no event. The text goes into the dead-letter queue's reason header.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    /// The body is no JSON object with the attributes of an event.
    #[error("not a CloudEvents 1.0 JSON event: {}", repeated::reason(&.0.to_string()))]
    Unreadable(#[from] serde_json::Error),
    /// Readable, but against a rule of `CloudEvents` or of ours.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Event {
    /// An event of ours, its data JSON.
    pub fn new(
        id: Uuid,
        source: &str,
        kind: &str,
        time: DateTime<Utc>,
        data: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            specversion: "1.0".into(),
            id: id.to_string(),
            source: source.into(),
            kind: kind.into(),
            time,
            subject: None,
            datacontenttype: Some("application/json".into()),
            merchant: None,
            traceparent: None,
            data_base64: None,
            data: serde_json::value::to_raw_value(data)?,
        })
    }

    /// The same event about `subject`, an affair of `merchant`.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>, merchant: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self.merchant = Some(merchant.into());
        self
    }

    /// Reads a message body.
    pub fn parse(body: &[u8]) -> Result<Self, NotAnEvent> {
        if body.len() > MAX_EVENT_BYTES {
            return Err(NotAnEvent::Invalid("the event is larger than 256 KiB"));
        }
        let mut event: Self = serde_json::from_slice(without_mark(body))?;
        event.check()?;
        event.traceparent = event.traceparent.filter(|trace| is_short_text(trace));
        Ok(event)
    }

    fn check(&self) -> Result<(), NotAnEvent> {
        let rules = [
            (self.specversion == "1.0", "specversion must be \"1.0\""),
            (is_short_text(&self.id), "id must have 1 to 255 characters, none of them a control character"),
            (
                is_short_text(&self.source),
                "source must have 1 to 255 characters, none of them a control character",
            ),
            (is_event_type(&self.kind), "type must have 1 to 255 letters, digits, `.`, `-` or `_`"),
            (
                (0..=9999).contains(&self.time.year()),
                "time must be of the years 0000 to 9999, as in RFC 3339",
            ),
            (self.data_base64.is_none(), "data must be JSON, not data_base64"),
            (self.subject.as_deref().is_none_or(is_short_text), "subject must have 1 to 255 characters"),
            (self.merchant.as_deref().is_none_or(is_short_text), "merchant must have 1 to 255 characters"),
            (
                self.datacontenttype.as_deref().is_none_or(is_json),
                "datacontenttype must be a JSON media type",
            ),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(NotAnEvent::Invalid(rule)))
    }

    /// The message body.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an event has only text, a time and valid JSON")
    }

    /// The message body as text, as it is kept in the outbox.
    pub fn to_json_text(&self) -> String {
        serde_json::to_string(self).expect("an event has only text, a time and valid JSON")
    }

    /// The key that this event is first given in our tables; see [`EventKey`].
    pub fn key(&self) -> EventKey {
        EventKey::derive(&self.id, &self.source, self.time)
    }
}

/// An event's key in our tables. An event is identified by its source and id; the key also says when it
/// happened, so that a day is a range of keys.
///
/// The first key of an event is its id where that is a `UUIDv7`, else a `UUIDv7` of its time and a hash of
/// its source and id. Neither is its identity yet: another source may use the same `UUIDv7`, and an event may
/// be stamped again. The store that keeps events resolves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(pub Uuid);

impl EventKey {
    fn derive(id: &str, source: &str, time: DateTime<Utc>) -> Self {
        Self::of_id(id)
            .unwrap_or_else(|| Self(timed_hash(millis_of(time), &[source.as_bytes(), id.as_bytes()])))
    }

    /// The key of the event with this id, where the id is a key by itself.
    pub fn of_id(id: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(id).ok()?;
        (uuid.get_version_num() == 7 && id == uuid.to_string()).then_some(Self(uuid))
    }

    /// The key to use instead where this one is already another event's: of the same millisecond, the same
    /// for the same event.
    #[must_use]
    pub fn next(&self, source: &str, id: &str) -> Self {
        Self(self.derived(&[source.as_bytes(), id.as_bytes()]))
    }

    /// A key of the time `at`, derived from `parts`: the same for the same time and parts.
    pub fn made_at(at: DateTime<Utc>, parts: &[&[u8]]) -> Self {
        let micros = at.timestamp_micros().to_be_bytes();
        Self(timed_hash(millis_of(at), &[&[&micros[..]], parts].concat()))
    }

    /// A `UUIDv7` of the same millisecond, derived from this key and `parts`: the same for the same
    /// parts, so that inserting it twice collides.
    pub fn derived(&self, parts: &[&[u8]]) -> Uuid {
        let millis = u64::from_be_bytes(self.0.as_bytes()[..8].try_into().expect("8 of 16 bytes")) >> 16;
        let mut all = vec![self.0.as_bytes().as_slice()];
        all.extend_from_slice(parts);
        timed_hash(millis, &all)
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn millis_of(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

/// A `UUIDv7` whose time is `millis` and whose other bits are a hash of `parts`, each with its length.
fn timed_hash(millis: u64, parts: &[&[u8]]) -> Uuid {
    let mut input = Vec::new();
    for part in parts {
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part);
    }
    let hash = digest(&SHA256, &input);
    let bits: &[u8; 10] = hash.as_ref()[..10].try_into().expect("10 of 32 bytes");
    uuid::Builder::from_unix_timestamp_millis(millis, bits).into_uuid()
}

/// The text behind a byte order mark, which a reader may pass over (RFC 8259, section 8.1).
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// The longest type, id, source or subject of an event, in characters.
pub const MAX_TEXT: usize = 255;

/// Whether `text` can be an event's type: 1 to 255 letters, digits, `.`, `-` or `_`.
pub fn is_event_type(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn is_short_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = r#"{"specversion":"1.0","id":"order-7","source":"/shop","type":"order.paid",
        "time":"2026-01-02T03:04:05.678Z","extension":1,"data":{"n":1.50}}"#;

    #[test]
    fn a_foreign_event_keeps_its_data_byte_for_byte() {
        let event = Event::parse(FOREIGN.as_bytes()).expect("an event");
        assert_eq!(event.data.get(), r#"{"n":1.50}"#);
    }

    #[test]
    fn a_uuid_v7_is_its_own_key_and_any_other_id_gets_the_same_key_every_time() {
        let mut event = Event::parse(FOREIGN.as_bytes()).expect("an event");
        let derived = event.key();
        assert_eq!(derived, event.key());
        assert_eq!(derived.0.get_version_num(), 7);
        event.source = "/other".into();
        assert_ne!(derived, event.key());
        event.id = derived.0.to_string();
        assert_eq!(event.key(), derived);
    }

    #[test]
    fn events_of_two_sources_with_one_id_have_different_next_keys_of_the_same_millisecond() {
        let key = EventKey::of_id("019ad4a0-0000-7000-8000-000000000001").expect("a UUIDv7");
        let [shop, warehouse] = ["/shop", "/warehouse"].map(|source| key.next(source, &key.to_string()));
        assert!(shop != warehouse && shop != key);
        assert_eq!(shop, key.next("/shop", &key.to_string()));
        assert_eq!(shop.0.as_bytes()[..6], key.0.as_bytes()[..6]);
    }

    #[test]
    fn a_byte_order_mark_before_an_event_is_passed_over() {
        let marked = [b"\xEF\xBB\xBF", FOREIGN.as_bytes()].concat();
        let event = Event::parse(&marked).expect("an event");
        assert_eq!((event.id.as_str(), event.data.get()), ("order-7", r#"{"n":1.50}"#));
        let twice = [b"\xEF\xBB\xBF", &marked[..]].concat();
        Event::parse(&twice).expect_err("one mark at most");
    }

    #[test]
    fn a_trace_context_that_no_database_would_hold_is_passed_over() {
        for (trace, expected) in [("00-ab-cd-01", Some("00-ab-cd-01")), ("00\\u0000", None), ("", None)] {
            let text = FOREIGN.replace("\"extension\":1", &format!("\"traceparent\":\"{trace}\""));
            let event = Event::parse(text.as_bytes()).expect("an event");
            assert_eq!(event.traceparent.as_deref(), expected);
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        for (body, reason) in [
            ("hello", "not a CloudEvents"),
            (r#"{"specversion":"1.0"}"#, "missing field"),
            (&FOREIGN.replace("\"1.0\"", "\"0.3\""), "specversion"),
            (&FOREIGN.replace("order.paid", "order paid"), "type"),
            (&FOREIGN.replace("order-7", ""), "id must"),
            (&FOREIGN.replace("2026-01-02T", "-5000-01-02T"), "time must"),
            (&FOREIGN.replace("2026-01-02T", "+12026-01-02T"), "time must"),
            (&FOREIGN.replace("\"data\":{\"n\":1.50}", "\"data_base64\":\"AA==\""), "data_base64"),
        ] {
            let error = Event::parse(body.as_bytes()).expect_err(body).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
