//! An event as it is kept: once, however many subscriptions it concerns.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use messaging::{Event, EventKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Message;

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

impl NewEvent {
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
}
