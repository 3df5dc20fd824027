//! Which events a subscription asks for.

use std::fmt;
use std::str::FromStr;

use messaging::event::is_event_type;

use super::operator_event::{FAMILY, is_for_operators};

/// An event type exactly (`recharge.succeeded`), a family (`recharge.*`), or everything (`*`) but what
/// is for operators, which must be asked for by name or as `ringback.*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventPattern(String);

/// What types a pattern asks for, as databases look for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Types<'a> {
    /// This one.
    One(&'a str),
    /// Those of a family.
    Family(Family),
    /// All but those of a family.
    But(Family),
}

/// The types from `from` on and before `to`: all that begin with `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The beginning, with its dot.
    pub from: String,
    /// The same with the character that comes after the dot.
    pub to: String,
}

impl Family {
    /// What is for operators.
    pub fn of_operators() -> Self {
        Self::new(FAMILY)
    }

    fn new(beginning: &str) -> Self {
        let stem = beginning.trim_end_matches('.');
        Self { from: format!("{stem}."), to: format!("{stem}/") }
    }
}

/// The text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an event type such as `recharge.succeeded`, a family such as `recharge.*`, or `*`")]
pub struct NotAPattern;

impl EventPattern {
    /// Everything but what is for operators.
    pub fn all() -> Self {
        Self("*".into())
    }

    /// Whether events of type `kind` are asked for. A family holds all types below it, at any depth.
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some("") => !is_for_operators(kind),
            Some(family) => kind.starts_with(family),
            None => kind == self.0,
        }
    }

    /// The types that are asked for, in the order of their bytes.
    pub fn types(&self) -> Types<'_> {
        match self.0.strip_suffix('*') {
            Some("") => Types::But(Family::of_operators()),
            Some(family) => Types::Family(Family::new(family)),
            None => Types::One(&self.0),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let valid = text == "*" || is_event_type(text.strip_suffix(".*").unwrap_or(text));
        if valid { Ok(Self(text.to_owned())) } else { Err(NotAPattern) }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_exact_a_family_or_everything() {
        let matches = |pattern: &str, kind| pattern.parse::<EventPattern>().expect(pattern).matches(kind);
        assert!(matches("recharge.succeeded", "recharge.succeeded"));
        assert!(!matches("recharge.succeeded", "recharge.succeeded.late"));
        assert!(matches("recharge.*", "recharge.failed"));
        assert!(!matches("recharge.*", "recharge"));
        assert!(!matches("recharge.*", "rechargeable.x"));
        assert!(matches("*", "anything"));
    }

    #[test]
    fn everything_does_not_hold_what_is_for_operators() {
        let matches = |pattern: &str, kind| pattern.parse::<EventPattern>().expect(pattern).matches(kind);
        let kind = "ringback.notification.exhausted";
        assert!(!matches("*", kind) && matches("*", "ringbacks"));
        assert!(["ringback.*", "ringback.notification.*", kind].iter().all(|pattern| matches(pattern, kind)));
    }

    #[test]
    fn the_types_of_a_pattern_are_those_it_matches() {
        let kinds = [
            "recharge",
            "recharge.",
            "recharge.x",
            "recharge.x.y",
            "recharge/",
            "rechargeable.x",
            "ringback.x",
        ];
        for text in ["recharge.*", "*", "recharge.x", "ringback.*"] {
            let pattern: EventPattern = text.parse().expect(text);
            let within = |family: &Family, kind: &str| *family.from <= *kind && *kind < *family.to;
            for kind in kinds {
                let asked = match pattern.types() {
                    Types::One(one) => one == kind,
                    Types::Family(family) => within(&family, kind),
                    Types::But(family) => !within(&family, kind),
                };
                assert_eq!(asked, pattern.matches(kind), "{text} {kind}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "**", "*.failed", "recharge*", "a b", "recharge.*.x", ".*"] {
            assert_eq!(text.parse::<EventPattern>(), Err(NotAPattern), "{text}");
        }
    }
}
