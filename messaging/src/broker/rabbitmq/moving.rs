//! How a message looks in another queue: as it came, with what happened to it in its headers.

use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};

use super::publisher::{Letter, PERSISTENT};

/// The letter for `queue`, through the default exchange.
pub(super) fn letter(queue: &str, original: &BasicProperties, headers: FieldTable, body: Vec<u8>) -> Letter {
    Letter {
        exchange: ShortString::default(),
        routing_key: ShortString::from(queue),
        properties: properties(original, headers),
        body,
    }
}

/// Properties by which a publisher could make the broker refuse or expire it are left out.
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

    #[test]
    fn a_moved_message_keeps_what_describes_it_and_drops_what_would_stop_it() {
        let original = BasicProperties::default()
            .with_message_id("7".into())
            .with_expiration("1".into())
            .with_user_id("somebody".into())
            .with_reply_to("elsewhere".into());
        let letter = letter("q.dead", &original, FieldTable::default(), b"body".to_vec());
        assert_eq!(letter.properties.message_id().as_ref().map(ToString::to_string), Some("7".into()));
        assert!(letter.properties.expiration().is_none() && letter.properties.user_id().is_none());
        assert!(letter.properties.reply_to().is_none());
        assert_eq!((letter.routing_key.to_string(), letter.body), ("q.dead".into(), b"body".to_vec()));
    }
}
