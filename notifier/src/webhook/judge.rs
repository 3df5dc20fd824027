//! What an answer means for the notification.

use hyper::StatusCode;
use serde_json::Value;

use crate::domain::{AckRule, FailureClass, Outcome};

/// The longest answer body that is read, in bytes; the rest is cut off.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// As much of an answer's body as was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// The first [`MAX_BODY_BYTES`], or less of one in very many pieces; there was more.
    Cut(Vec<u8>),
    /// What came before it broke off or the time was up, and why.
    Broken(Vec<u8>, FailureClass, String),
}

impl Body {
    /// What was read.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Cut(bytes) | Self::Broken(bytes, ..) => bytes,
        }
    }
}

/// The byte order mark of UTF-8. Some platforms write one in front of all text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The outcome, and for people what was wrong with the answer.
///
/// The status speaks first: whatever is not 2xx is a failure however its body ends.
pub fn judge(status: StatusCode, body: &Body, rule: &AckRule) -> (Outcome, Option<String>) {
    if status == StatusCode::GONE {
        return (Outcome::Gone, Some("the endpoint answered 410 Gone".into()));
    }
    if !status.is_success() {
        let redirect = if status.is_redirection() { "; redirects are not followed" } else { "" };
        let error = format!("the endpoint answered {status}{redirect}");
        return (Outcome::Failed(FailureClass::Status), Some(error));
    }
    if let Body::Broken(_, class, error) = body {
        return (Outcome::Failed(*class), Some(error.clone()));
    }
    match acknowledges(body, rule) {
        Ok(()) => (Outcome::Delivered, None),
        Err(error) => (Outcome::Failed(FailureClass::AckMismatch), Some(error.into())),
    }
}

fn acknowledges(body: &Body, rule: &AckRule) -> Result<(), &'static str> {
    let whole = match (rule, body) {
        (AckRule::Status, _) => return Ok(()),
        (_, Body::Whole(bytes)) => bytes.as_slice(),
        _ => {
            return Err(
                "the answer is longer than 64 KiB or in too many pieces, so it is no acknowledgement",
            );
        }
    };
    // RFC 8259, section 8.1, lets a reader of JSON pass the mark over; it is no part of a text either.
    let whole = whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(whole);
    match rule {
        AckRule::Status => Ok(()),
        AckRule::Body(expected) => match std::str::from_utf8(whole) {
            Ok(text) if text.trim() == expected => Ok(()),
            _ => Err("the answer's body is not the acknowledgement"),
        },
        AckRule::Json(rule) => {
            let document: Value =
                serde_json::from_slice(whole).map_err(|_| "the answer's body is not JSON")?;
            match document.pointer(&rule.pointer) {
                Some(value) if *value == rule.equals => Ok(()),
                Some(_) => Err("the answer's JSON has another value where the acknowledgement belongs"),
                None => Err("the answer's JSON has nothing where the acknowledgement belongs"),
            }
        }
    }
}

/// The beginning of the body as text, `max` bytes at the most, not cut inside of a character.
pub fn excerpt(body: &[u8], max: usize) -> Option<String> {
    let cut = &body[..body.len().min(max)];
    let whole = match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() && body.len() > max => &cut[..error.valid_up_to()],
        _ => cut,
    };
    (!whole.is_empty()).then(|| String::from_utf8_lossy(whole).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::ack::JsonAck;

    fn outcome(status: u16, body: &str, rule: &AckRule) -> Outcome {
        let status = StatusCode::from_u16(status).expect("a status");
        judge(status, &Body::Whole(body.into()), rule).0
    }

    fn json_ack(pointer: &str, equals: Value) -> AckRule {
        AckRule::Json(JsonAck { pointer: pointer.into(), equals })
    }

    #[test]
    fn any_2xx_acknowledges_410_says_gone_and_all_else_is_a_failure() {
        for (status, expected) in [
            (200, Outcome::Delivered),
            (204, Outcome::Delivered),
            (302, Outcome::Failed(FailureClass::Status)),
            (404, Outcome::Failed(FailureClass::Status)),
            (410, Outcome::Gone),
            (500, Outcome::Failed(FailureClass::Status)),
        ] {
            assert_eq!(outcome(status, "", &AckRule::Status), expected, "{status}");
        }
    }

    #[test]
    fn a_body_acknowledges_when_it_is_the_word_but_for_white_space_around_it() {
        let rule = AckRule::Body("success".into());
        assert_eq!(outcome(200, " success\r\n", &rule), Outcome::Delivered);
        for body in ["", "fail", "SUCCESS", "success!", "suc cess"] {
            assert_eq!(outcome(200, body, &rule), Outcome::Failed(FailureClass::AckMismatch), "{body}");
        }
        assert_eq!(outcome(500, "success", &rule), Outcome::Failed(FailureClass::Status));
    }

    #[test]
    fn json_acknowledges_when_one_place_has_one_value() {
        let rule = json_ack("/code", json!("SUCCESS"));
        assert_eq!(outcome(200, r#"{"code":"SUCCESS","message":"ok"}"#, &rule), Outcome::Delivered);
        assert_eq!(outcome(200, r#"{"a":[{"b":0}]}"#, &json_ack("/a/0/b", json!(0))), Outcome::Delivered);
        assert_eq!(outcome(200, "true", &json_ack("", json!(true))), Outcome::Delivered);
        for body in ["", "SUCCESS", r#"{"code":"FAIL"}"#, "{}", r#"{"code":null}"#] {
            assert_eq!(outcome(200, body, &rule), Outcome::Failed(FailureClass::AckMismatch), "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_in_front_of_an_acknowledgement_is_passed_over() {
        let (body, json) = (AckRule::Body("success".into()), json_ack("/code", json!("SUCCESS")));
        let mismatch = Outcome::Failed(FailureClass::AckMismatch);
        for text in ["success", " success\r\n"] {
            assert_eq!(outcome(200, &format!("\u{feff}{text}"), &body), Outcome::Delivered, "{text}");
        }
        for text in [r#"{"code":"SUCCESS"}"#, "\r\n{\"code\": \"SUCCESS\"}"] {
            assert_eq!(outcome(200, &format!("\u{feff}{text}"), &json), Outcome::Delivered, "{text}");
        }
        assert_eq!(outcome(200, "\u{feff}\u{feff}success", &body), mismatch, "one mark, not two");
        assert_eq!(outcome(200, "succ\u{feff}ess", &body), mismatch);
        assert_eq!(outcome(200, "\u{feff}", &body), mismatch);
    }

    #[test]
    fn every_2xx_acknowledges_and_nothing_beside_them() {
        for status in 100..=999 {
            let delivered = outcome(status, "", &AckRule::Status) == Outcome::Delivered;
            assert_eq!(delivered, (200..=299).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_pointer_finds_keys_with_slashes_and_items_of_lists_and_tells_null_from_nothing() {
        let escaped = json_ack("/a~1b/~0c", json!("yes"));
        assert_eq!(outcome(200, r#"{"a/b":{"~c":"yes"}}"#, &escaped), Outcome::Delivered);
        let null = json_ack("/code", json!(null));
        assert_eq!(outcome(200, r#"{"code":null}"#, &null), Outcome::Delivered);
        let mismatch = Outcome::Failed(FailureClass::AckMismatch);
        assert_eq!(outcome(200, "{}", &null), mismatch);
        assert_eq!(outcome(200, r#"["yes"]"#, &json_ack("/1", json!("yes"))), mismatch);
        assert_eq!(
            outcome(200, r#"{"code":"0"}"#, &json_ack("/code", json!(0))),
            mismatch,
            "text is no number"
        );
    }

    #[test]
    fn a_body_that_no_parser_can_read_is_a_mismatch_and_no_panic() {
        let deep = "[".repeat(60_000);
        let rules = [json_ack("", json!(true)), AckRule::Body("success".into())];
        for rule in rules {
            for bytes in
                [deep.as_bytes(), b"\xFF\xFEsuccess", b"\0", b"{\"code\":", b"true false", b"suc\xC3"]
            {
                let (found, error) = judge(StatusCode::OK, &Body::Whole(bytes.to_vec()), &rule);
                assert_eq!(found, Outcome::Failed(FailureClass::AckMismatch));
                assert!(error.is_some());
            }
        }
    }

    #[test]
    fn a_body_that_was_cut_acknowledges_by_its_status_alone() {
        let cut = Body::Cut(b"success".to_vec());
        assert_eq!(judge(StatusCode::OK, &cut, &AckRule::Status).0, Outcome::Delivered);
        let mismatch = Outcome::Failed(FailureClass::AckMismatch);
        assert_eq!(judge(StatusCode::OK, &cut, &AckRule::Body("success".into())).0, mismatch);
    }

    #[test]
    fn a_body_that_broke_off_fails_a_2xx_and_leaves_any_other_status_its_say() {
        let broken = Body::Broken(Vec::new(), FailureClass::Body, "broke off".into());
        let failed = Outcome::Failed(FailureClass::Body);
        assert_eq!(judge(StatusCode::OK, &broken, &AckRule::Status), (failed, Some("broke off".into())));
        assert_eq!(judge(StatusCode::GONE, &broken, &AckRule::Status).0, Outcome::Gone);
    }

    #[test]
    fn an_excerpt_ends_between_characters() {
        assert_eq!(excerpt("好好".as_bytes(), 4), Some("好".into()));
        assert_eq!(excerpt(b"\xFFab", 2), Some("\u{FFFD}a".into()));
        assert_eq!(excerpt(b"", 4), None);
    }
}
