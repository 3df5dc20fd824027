//! What counts as the receiver's acknowledgement.

use runtime::validation::{Invalid, Violations};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest body, pointer or value an acknowledgement rule may ask for, in characters.
pub const MAX_ACK_TEXT: usize = 255;

/// When an answer acknowledges the notification. Every rule asks for a 2xx status as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum AckRule {
    /// Any 2xx.
    #[default]
    Status,
    /// 2xx and exactly this body, white space at both ends passed over.
    Body(String),
    /// 2xx and a JSON body in which one place has one value.
    Json(JsonAck),
}

/// One place of a JSON document and the value it must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonAck {
    /// A JSON pointer (RFC 6901), such as `/code`; empty for the whole document.
    pub pointer: String,
    /// Text, a number, true, false or null.
    pub equals: Value,
}

impl AckRule {
    /// Refuses a rule that no answer could meet or that is too long.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Status => Ok(()),
            Self::Body(expected) if expected.trim() != expected => {
                Err(Invalid::field("ack.body", "must not begin or end with white space"))
            }
            Self::Body(expected) => runtime::validation::text("ack.body", expected, MAX_ACK_TEXT),
            Self::Json(rule) => rule.check(),
        }
    }
}

impl JsonAck {
    fn check(&self) -> Result<(), Invalid> {
        let mut violations = Violations::new();
        let well_formed = self.pointer.is_empty() || self.pointer.starts_with('/');
        violations.require(well_formed, "ack.json.pointer", "must be a JSON pointer such as \"/code\"");
        let short = self.pointer.chars().count() <= MAX_ACK_TEXT && !has_nul(&self.pointer);
        violations.require(short, "ack.json.pointer", format!("must have at most {MAX_ACK_TEXT} characters"));
        let scalar = !self.equals.is_array() && !self.equals.is_object();
        violations.require(scalar, "ack.json.equals", "must be text, a number, true, false or null");
        let short = self.equals.as_str().is_none_or(|t| t.chars().count() <= MAX_ACK_TEXT && !has_nul(t));
        violations.require(short, "ack.json.equals", format!("must have at most {MAX_ACK_TEXT} characters"));
        violations.finish()
    }
}

fn has_nul(text: &str) -> bool {
    text.contains('\0')
}
