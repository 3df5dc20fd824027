//! The request of one attempt, as the contract of "The webhook" lays it out.

use chrono::{DateTime, Utc};
use messaging::webhook::{ID_HEADER, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use runtime::trace::TraceContext;

use crate::domain::{Endpoint, Message};

const AGENT: &str = concat!("Ringback/", env!("CARGO_PKG_VERSION"));

/// The request can't be built from what is stored. Nothing a receiver does leads here.
#[derive(Debug, thiserror::Error)]
pub enum Unsendable {
    /// The event's id or a header of the subscription can't be part of a request.
    #[error("a header can't be sent")]
    Header(#[from] reqwest::header::InvalidHeaderValue),
    /// A header of the subscription has no proper name.
    #[error("a header's name can't be sent")]
    HeaderName(#[from] reqwest::header::InvalidHeaderName),
    /// There is no secret to sign with.
    #[error("the subscription has no live signing secret")]
    NoSecret,
}

/// The headers of an attempt at `now`: the subscriber's own, then ours, which they can't replace.
pub fn headers(endpoint: &Endpoint, message: &Message, now: DateTime<Utc>) -> Result<HeaderMap, Unsendable> {
    let mut headers = HeaderMap::with_capacity(endpoint.headers.len() + 6);
    for (name, value) in &endpoint.headers {
        headers.insert(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ID_HEADER, HeaderValue::from_str(&message.id)?);
    headers.insert(TIMESTAMP_HEADER, HeaderValue::from(now.timestamp()));
    headers.insert(SIGNATURE_HEADER, HeaderValue::from_str(&signatures(endpoint, message, now)?)?);
    let trace = TraceContext::of_event(message.traceparent.as_deref(), &message.id);
    headers.insert("traceparent", HeaderValue::from_str(&trace.to_string())?);
    Ok(headers)
}

/// One signature per live key, so that a receiver that still holds the old one during a
/// rotation finds its own.
fn signatures(endpoint: &Endpoint, message: &Message, now: DateTime<Utc>) -> Result<String, Unsendable> {
    let sign = |key: &SigningKey| key.sign(&message.id, now.timestamp(), &message.body);
    let signatures: Vec<_> = endpoint.live_keys(now).map(sign).collect();
    if signatures.is_empty() { Err(Unsendable::NoSecret) } else { Ok(signatures.join(" ")) }
}
