//! Durations as people write them: `"30s"`, `"5m"`, `"10h"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A duration that reads and prints as a human string. Whole milliseconds; printed in the largest
/// unit that is exact, hours at the most, so `24h` stays `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, example = "5m")]
pub struct HumanDuration(pub Duration);

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration: {RIGHT}")]
pub struct NotADuration(String);

const RIGHT: &str = "write a number and a unit, such as \"30s\", \"5m\" or \"10h\"";

impl FromStr for HumanDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let refuse = || NotADuration(text.chars().take(40).collect());
        let parsed = humantime::parse_duration(text.trim()).map_err(|_| refuse())?;
        if parsed.subsec_nanos() % 1_000_000 == 0 { Ok(Self(parsed)) } else { Err(refuse()) }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => f.write_str("0s"),
            _ if millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1_000) => write!(f, "{}s", millis / 1_000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Here the text is a caller's, and not repeated.
        text.parse().map_err(|_| serde::de::Error::custom(format_args!("no duration: {RIGHT}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_prints_as_it_is_usually_written() {
        for text in ["15s", "90s", "5m", "10h", "24h", "250ms"] {
            assert_eq!(text.parse::<HumanDuration>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn text_that_is_no_duration_is_refused_with_an_example() {
        let error = "soon".parse::<HumanDuration>().expect_err("no duration");
        assert!(error.to_string().contains("\"30s\""));
        assert!("5".parse::<HumanDuration>().is_err());
    }
}
