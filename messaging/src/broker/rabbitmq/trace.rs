//! What a message has been through, in its headers.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use runtime::repeated::storable;
use uuid::Uuid;

use crate::broker::{
    ATTEMPTS_HEADER, DEAD_LETTER_ID_HEADER, DEAD_LETTERED_HEADER, FIRST_PUBLISHED_HEADER, History,
    REASON_HEADER,
};

/// The longest reason, in characters.
const MAX_REASON: usize = 500;
/// What the frame of properties needs besides the original headers, at the most.
const FRAME_RESERVE: usize = 4 * 1024;
/// Headers that stay behind when a message moves: what made it a dead letter; `CC`, with which its
/// publisher could have it copied elsewhere; and the broker's own account of the way between our
/// queues, which would grow with each step.
const LEFT_BEHIND: [&str; 10] = [
    DEAD_LETTER_ID_HEADER,
    DEAD_LETTERED_HEADER,
    "CC",
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

/// What the headers say. A message that no program of ours published tells only, if that, its
/// timestamp.
pub(super) fn history(properties: &BasicProperties) -> History {
    let headers = properties.headers().as_ref();
    let published = headers.and_then(|headers| time(headers, FIRST_PUBLISHED_HEADER));
    History {
        first_published_at: published.or_else(|| timestamp(properties)),
        attempts: headers.and_then(|headers| number(headers, ATTEMPTS_HEADER)).unwrap_or(0),
        reason: headers.and_then(|headers| text(headers, REASON_HEADER)).as_deref().map(storable),
    }
}

/// The headers of a message that moves on: the original ones and `history`. Headers must fit in one
/// frame; where the original ones would leave no room, they go, since a message that can't be moved
/// would stop its queue.
pub(super) fn headers(original: Option<&FieldTable>, history: &History, frame_max: usize) -> FieldTable {
    let kept = original.filter(|headers| generous_size(headers) + FRAME_RESERVE < frame_max);
    let mut headers: BTreeMap<ShortString, AMQPValue> =
        kept.map(|headers| headers.inner().clone()).unwrap_or_default();
    headers.retain(|name, _| !LEFT_BEHIND.contains(&name.as_str()));
    let published = history.first_published_at.map(rfc3339);
    let reason = history.reason.as_ref().map(|reason| reason.chars().take(MAX_REASON).collect());
    let attempts = (history.attempts > 0).then(|| AMQPValue::LongLongInt(history.attempts.into()));
    for (name, value) in [
        (FIRST_PUBLISHED_HEADER, published.map(long_text)),
        (ATTEMPTS_HEADER, attempts),
        (REASON_HEADER, reason.map(long_text)),
    ] {
        match value {
            Some(value) => headers.insert(name.into(), value),
            None => headers.remove(name),
        };
    }
    FieldTable::from(headers)
}

/// The headers of a message that is published for the first time.
pub(super) fn first(now: DateTime<Utc>) -> FieldTable {
    let history = History { first_published_at: Some(now), ..History::default() };
    headers(None, &history, usize::MAX)
}

/// Says in its headers that a message is the dead letter `id`, given up `now`.
pub(super) fn name_dead_letter(headers: &mut FieldTable, id: Uuid, now: DateTime<Utc>) {
    headers.insert(DEAD_LETTER_ID_HEADER.into(), long_text(id.to_string()));
    headers.insert(DEAD_LETTERED_HEADER.into(), long_text(rfc3339(now)));
}

/// The id of a dead letter, where a program of ours gave it one.
pub(super) fn dead_letter_id(properties: &BasicProperties) -> Option<Uuid> {
    text(properties.headers().as_ref()?, DEAD_LETTER_ID_HEADER)?.parse().ok()
}

/// When it was given up.
pub(super) fn dead_lettered_at(properties: &BasicProperties) -> Option<DateTime<Utc>> {
    time(properties.headers().as_ref()?, DEAD_LETTERED_HEADER)
}

/// Never less than the size on the wire: the debug form names every type and value.
fn generous_size(headers: &FieldTable) -> usize {
    format!("{headers:?}").len()
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn long_text(text: String) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn time(headers: &FieldTable, name: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(&text(headers, name)?).ok()?.to_utc())
}

/// Whatever width its writer chose; a negative number counts as none.
fn number(headers: &FieldTable, name: &str) -> Option<u32> {
    let number = match headers.inner().get(name)? {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    };
    Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

fn timestamp(properties: &BasicProperties) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from((*properties.timestamp())?).ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> History {
        let first_published_at = "2026-01-02T03:04:05.000006Z".parse().ok();
        History { first_published_at, attempts: 3, reason: Some("there is no such account".into()) }
    }

    #[test]
    fn what_is_written_is_read_again_and_other_headers_stay() {
        let mut original = FieldTable::default();
        for name in ["tenant", "CC", "x-death", "x-first-death-queue"] {
            original.insert(name.into(), AMQPValue::LongString("a".into()));
        }
        name_dead_letter(&mut original, Uuid::nil(), DateTime::UNIX_EPOCH);
        let written = headers(Some(&original), &failed(), 128 * 1024);
        assert_eq!(written.inner().len(), 4, "tenant and ours: {written:?}");
        assert_eq!(history(&BasicProperties::default().with_headers(written.clone())), failed());
        let fresh = History { attempts: 0, reason: None, ..failed() };
        let written = headers(Some(&written), &fresh, 128 * 1024);
        assert_eq!(history(&BasicProperties::default().with_headers(written)), fresh);
    }

    #[test]
    fn headers_that_leave_no_room_are_given_up_and_a_long_reason_is_cut() {
        let mut original = FieldTable::default();
        original.insert("tenant".into(), AMQPValue::LongString("a".into()));
        let reason = Some("x".repeat(9000));
        let written = headers(Some(&original), &History { reason, ..failed() }, FRAME_RESERVE);
        assert!(!written.contains_key("tenant"));
        assert_eq!(text(&written, REASON_HEADER).map(|reason| reason.len()), Some(MAX_REASON));
    }

    #[test]
    fn a_reason_that_no_database_would_hold_is_made_storable() {
        let mut headers = FieldTable::default();
        headers.insert(REASON_HEADER.into(), AMQPValue::LongString("a\0b".into()));
        let history = history(&BasicProperties::default().with_headers(headers));
        assert_eq!(history.reason.as_deref(), Some("a\u{FFFD}b"));
    }

    #[test]
    fn a_foreign_message_tells_its_timestamp_and_nonsense_counts_as_nothing() {
        let mut headers = FieldTable::default();
        headers.insert(ATTEMPTS_HEADER.into(), AMQPValue::LongInt(-1));
        headers.insert(REASON_HEADER.into(), AMQPValue::Boolean(true));
        headers.insert(FIRST_PUBLISHED_HEADER.into(), AMQPValue::LongString("yesterday".into()));
        let properties = BasicProperties::default().with_headers(headers).with_timestamp(1_767_225_600);
        let first_published_at = "2026-01-01T00:00:00Z".parse().ok();
        assert_eq!(history(&properties), History { first_published_at, ..History::default() });
        assert_eq!(history(&BasicProperties::default()), History::default());
    }
}
