//! An event as it is kept: once, however many subscriptions it concerns.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use messaging::{Event, EventKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Message, same_json};

/// An event on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its key in our tables.
    pub key: EventKey,
    /// Its own id.
    pub id: String,
    /// Who published it.
    pub source: String,
    /// What happened.
    pub kind: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// What it happened to.
    pub subject: Option<String>,
    /// Whose affair it is.
    pub merchant: Option<String>,
    /// The W3C trace context it happened in.
    pub traceparent: Option<String>,
    /// The body of every webhook about it, built here once.
    pub body: Bytes,
}

/// The webhook's body, as Standard Webhooks lays it out.
#[derive(Debug, Serialize, Deserialize)]
struct WebhookBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl From<&Event> for NewEvent {
    fn from(event: &Event) -> Self {
        let body = WebhookBody {
            kind: &event.kind,
            timestamp: event.time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            data: &event.data,
        };
        Self {
            key: event.key(),
            id: event.id.clone(),
            source: event.source.clone(),
            kind: event.kind.clone(),
            time: event.time.trunc_subsecs(6),
            subject: event.subject.clone(),
            merchant: event.merchant.clone(),
            traceparent: event.traceparent.clone(),
            body: serde_json::to_vec(&body).expect("text and valid JSON").into(),
        }
    }
}

/// Refuses an id that webhooks can't carry: it travels as a header and is signed in front of a `.`, so it must fit
/// into the one and hold none of the other (Standard Webhooks, "Signature scheme").
pub fn webhook_id(id: &str) -> Result<(), &'static str> {
    let fits = id.bytes().all(|b| b.is_ascii_graphic() && b != b'.');
    fits.then_some(()).ok_or(
        "webhooks carry the id as a header and sign it, so it must be visible ASCII without spaces and `.`",
    )
}

/// Why an event is not kept. The text is a dead letter's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventRefusal {
    /// It can no longer be recognised as a duplicate, since what was as old as it is has been removed.
    #[error(
        "the event is older than the log that is kept, so it can't be distinguished from one that was delivered"
    )]
    Expired,
    /// Its source and id are those of an event that is kept, whose content is another. Names what differs.
    #[error("an event with the same source and id was received before with another content: {} differs", .0.join(", "))]
    Contradicts(Vec<&'static str>),
    /// Every key that it can have is another event's, which does not happen by chance.
    #[error("every key that the event can have is taken by events of other sources or ids")]
    NoKeyLeft,
}

impl NewEvent {
    /// What identifies it: its source and its id, whatever its time.
    pub fn identity(&self) -> (&str, &str) {
        (&self.source, &self.id)
    }

    /// Whether its id is a `UUIDv7`, so that its first key follows from the id alone.
    pub fn has_timed_id(&self) -> bool {
        EventKey::of_id(&self.id).is_some()
    }

    /// What receivers would see differ between it and `other`, by attribute. The time and the trace are not
    /// compared: the same event may be stamped again.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let same_data = self.body == other.body || is_same_data(&self.body, &other.body);
        let mut differences = Vec::new();
        for (name, same) in [
            ("type", self.kind == other.kind),
            ("subject", self.subject == other.subject),
            ("merchant", self.merchant == other.merchant),
            ("data", same_data),
        ] {
            if !same {
                differences.push(name);
            }
        }
        differences
    }

    /// What webhooks about this event send.
    pub fn message(&self) -> Message {
        Message { id: self.id.clone(), body: self.body.clone(), traceparent: self.traceparent.clone() }
    }
}

/// The `data` of a stored webhook body, byte for byte; `None` for a body this program did not build.
pub fn data_of(body: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Data {
        data: Box<RawValue>,
    }
    serde_json::from_str::<Data>(body).ok().map(|body| body.data)
}

/// Whether the `data` of two bodies is the same, perhaps in another spelling.
fn is_same_data(one: &[u8], other: &[u8]) -> bool {
    let data = |body| data_of(std::str::from_utf8(body).ok()?);
    match (data(one), data(other)) {
        (Some(one), Some(other)) => same_json::is_same(one.get(), other.get()),
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhook_body_holds_the_events_data_byte_for_byte() {
        let event = r#"{"specversion":"1.0","id":"order-7","source":"/shop","type":"order.paid",
            "time":"2026-01-02T03:04:05.678Z","data":{"n":1.50, "b":[ ]}}"#;
        let event = NewEvent::from(&Event::parse(event.as_bytes()).expect("an event"));
        let body = std::str::from_utf8(&event.body).expect("UTF-8");
        let expected =
            r#"{"type":"order.paid","timestamp":"2026-01-02T03:04:05.678Z","data":{"n":1.50, "b":[ ]}}"#;
        assert_eq!(body, expected);
        assert_eq!(data_of(body).expect("data").get(), r#"{"n":1.50, "b":[ ]}"#);
    }

    #[test]
    fn an_event_that_is_stamped_again_is_the_same_and_one_with_other_content_names_what_differs() {
        let event = |time: &str, data: &str, subject: &str| {
            let event = format!(
                r#"{{"specversion":"1.0","id":"order-7","source":"/shop","type":"order.paid",
                    "subject":"{subject}","time":"{time}","data":{data}}}"#
            );
            NewEvent::from(&Event::parse(event.as_bytes()).expect("an event"))
        };
        let first = event("2026-01-02T03:04:05Z", "[1]", "a");
        assert!(first.differences(&event("2026-02-02T03:04:05Z", "[1]", "a")).is_empty());
        let other = event("2026-01-02T03:04:05Z", "[2]", "b");
        assert_eq!(first.differences(&other), ["subject", "data"]);
        let reason = EventRefusal::Contradicts(first.differences(&other)).to_string();
        assert!(reason.ends_with("another content: subject, data differs"), "{reason}");
    }
}
