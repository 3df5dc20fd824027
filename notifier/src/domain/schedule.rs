//! A subscription's ladder as its owner chose it.

use messaging::Ladder;
use messaging::ladder::Preset;
use runtime::duration::HumanDuration;
use runtime::validation::Invalid;
use serde::{Deserialize, Deserializer, Serialize};

/// A preset by name, or steps of one's own. Shown as it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Schedule {
    /// A named ladder.
    Preset(Preset),
    /// One's own steps; refused by [`Schedule::ladder`] unless they make a ladder.
    Steps(Vec<HumanDuration>),
}

impl Schedule {
    /// The ladder that was chosen.
    pub fn ladder(&self) -> Result<Ladder, Invalid> {
        match self {
            Self::Preset(preset) => Ok(Ladder::preset(*preset)),
            Self::Steps(steps) => Ladder::new(steps.clone()),
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Preset(Preset::Standard)
    }
}

/// By hand, since an untagged enum could not say which step is wrong.
impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> serde::de::Visitor<'de> for Visitor {
    type Value = Schedule;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of durations such as [\"1m\", \"5m\"], or `standard`, `wechatpay` or `alipay`")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Schedule, E> {
        Preset::deserialize(serde::de::value::StrDeserializer::new(name)).map(Schedule::Preset)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, steps: A) -> Result<Schedule, A::Error> {
        Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(steps)).map(Schedule::Steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_shown_as_it_was_chosen() {
        for text in [r#""alipay""#, r#"["1s","5m"]"#] {
            let schedule: Schedule = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&schedule).expect("serializable"), text);
        }
        for text in [r#""weekly""#, "7", r#"["soon"]"#, "{}"] {
            assert!(serde_json::from_str::<Schedule>(text).is_err(), "{text}");
        }
    }
}
