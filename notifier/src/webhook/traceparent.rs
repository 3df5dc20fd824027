//! The W3C trace context that a webhook carries (<https://www.w3.org/TR/trace-context/>).

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

/// The event's own `traceparent` where it has a well-formed one; else one made from the message's
/// id, so that all attempts at one event are one trace, and marked as not sampled.
pub fn traceparent(given: Option<&str>, message_id: &str) -> String {
    match given {
        Some(text) if is_well_formed(text) => text.to_owned(),
        _ => {
            let hash = digest(&SHA256, message_id.as_bytes());
            let (trace, parent) = (hex(&hash.as_ref()[..16]), hex(&hash.as_ref()[16..24]));
            format!("00-{trace}-{parent}-00")
        }
    }
}

/// Version 00: `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zeros.
fn is_well_formed(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    matches!(parts[..], ["00", trace, parent, flags]
        if [trace.len(), parent.len(), flags.len()] == [32, 16, 2]
            && [trace, parent, flags].iter().all(|part| is_hex(part))
            && [trace, parent].iter().all(|id| id.bytes().any(|b| b != b'0')))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a String can't fail.
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_own_trace_is_passed_on() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(Some(given), "evt"), given);
    }

    #[test]
    fn without_a_well_formed_one_every_attempt_at_an_event_carries_the_same_new_one() {
        let made = traceparent(None, "evt");
        assert!(is_well_formed(&made), "{made}");
        for nonsense in ["", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "a\r\nb"]
        {
            assert_eq!(traceparent(Some(nonsense), "evt"), made);
        }
        assert_ne!(traceparent(None, "other"), made);
    }
}
