//! How a message that is given up looks in its dead-letter queue: as it came, with the reason.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::publisher::{Letter, PERSISTENT};
use crate::broker::REASON_HEADER;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;
/// What the frame of properties needs besides the headers, with the reason, at the most.
const FRAME_RESERVE: usize = 4 * 1024;

/// The letter for the dead-letter queue `queue`, through the default exchange. Properties by which
/// a publisher could make the broker refuse, expire or copy it elsewhere are left out.
pub(super) fn dead_letter(
    queue: &str,
    original: &BasicProperties,
    body: &Bytes,
    reason: &str,
    frame_max: usize,
) -> Letter {
    Letter {
        exchange: ShortString::default(),
        routing_key: ShortString::from(queue),
        properties: properties(original, headers(original.headers().as_ref(), reason, frame_max)),
        body: body.to_vec(),
    }
}

/// The reason of a message from a dead-letter queue.
pub(super) fn reason(properties: &BasicProperties) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(REASON_HEADER)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The original headers and the reason. Headers must fit in one frame; where the original ones
/// would leave no room, they go, since a message that can't be moved would stop its queue.
fn headers(original: Option<&FieldTable>, reason: &str, frame_max: usize) -> FieldTable {
    let kept = original.filter(|headers| generous_size(headers) + FRAME_RESERVE < frame_max);
    let mut headers: BTreeMap<ShortString, AMQPValue> =
        kept.map(|headers| headers.inner().clone()).unwrap_or_default();
    // Sender-selected distribution: would route further copies by the original publisher's wish.
    headers.remove("CC");
    let reason: String = reason.chars().take(MAX_REASON).collect();
    headers.insert(ShortString::from(REASON_HEADER), AMQPValue::LongString(LongString::from(reason)));
    FieldTable::from(headers)
}

/// Never less than the size on the wire: the debug form names every type and value.
fn generous_size(headers: &FieldTable) -> usize {
    format!("{headers:?}").len()
}

fn properties(original: &BasicProperties, headers: FieldTable) -> BasicProperties {
    let mut properties = BasicProperties::default().with_headers(headers).with_delivery_mode(PERSISTENT);
    if let Some(content_type) = original.content_type() {
        properties = properties.with_content_type(content_type.clone());
    }
    if let Some(encoding) = original.content_encoding() {
        properties = properties.with_content_encoding(encoding.clone());
    }
    if let Some(id) = original.message_id() {
        properties = properties.with_message_id(id.clone());
    }
    if let Some(id) = original.correlation_id() {
        properties = properties.with_correlation_id(id.clone());
    }
    if let Some(kind) = original.kind() {
        properties = properties.with_type(kind.clone());
    }
    if let Some(timestamp) = original.timestamp() {
        properties = properties.with_timestamp(*timestamp);
    }
    if let Some(application) = original.app_id() {
        properties = properties.with_app_id(application.clone());
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original() -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert("tenant".into(), AMQPValue::LongString("a".into()));
        headers.insert("CC".into(), AMQPValue::LongString("elsewhere".into()));
        BasicProperties::default()
            .with_headers(headers)
            .with_message_id("7".into())
            .with_expiration("1".into())
            .with_user_id("somebody".into())
    }

    #[test]
    fn a_dead_letter_keeps_what_describes_it_and_drops_what_would_move_it() {
        let letter = dead_letter("q.dead", &original(), &Bytes::from_static(b"body"), "why", 128 * 1024);
        let headers = letter.properties.headers().clone().expect("headers");
        assert_eq!(headers.inner().len(), 2, "tenant and the reason");
        assert_eq!(reason(&letter.properties).as_deref(), Some("why"));
        assert_eq!(letter.properties.message_id().as_ref().map(ToString::to_string), Some("7".into()));
        assert!(letter.properties.expiration().is_none() && letter.properties.user_id().is_none());
        assert_eq!(letter.body, b"body");
    }

    #[test]
    fn headers_that_leave_no_room_for_the_reason_are_given_up() {
        let letter = dead_letter("q.dead", &original(), &Bytes::new(), &"x".repeat(9000), FRAME_RESERVE);
        let headers = letter.properties.headers().clone().expect("headers");
        assert_eq!(headers.inner().len(), 1);
        assert_eq!(reason(&letter.properties).map(|reason| reason.len()), Some(MAX_REASON));
    }
}
