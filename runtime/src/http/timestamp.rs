//! Times in requests.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// A time as RFC 3339 writes it, from the year 0000 to 9999, so that every database can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-02T03:04:05Z")]
pub struct Timestamp(pub DateTime<Utc>);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text).map(|time| Self(time.to_utc())).map_err(|_| {
            let right =
                "must be an RFC 3339 time such as 2026-01-02T03:04:05Z; in a query string, write `+` as %2B";
            serde::de::Error::custom(right)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rfc_3339_is_a_time_and_an_offset_is_understood() {
        let read = |text: &str| serde_json::from_value::<Timestamp>(text.into());
        let time = read("2026-01-02T11:04:05+08:00").expect("a time");
        assert_eq!(time.0.to_rfc3339(), "2026-01-02T03:04:05+00:00");
        for text in ["", "yesterday", "2026-01-02", "+262142-01-01T00:00:00Z", "1767323045"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
