//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long the receiver asks to be left alone, counted from `now`: seconds or an HTTP date, heeded
/// with 429 and 503 only. What can't be read asks for nothing.
pub fn retry_after(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit still ask for very long; the ladder caps it.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: u16, value: &str) -> Option<Duration> {
        let status = StatusCode::from_u16(status).expect("a status");
        let headers = [(RETRY_AFTER, value.parse().expect("a value"))].into_iter().collect();
        retry_after(status, &headers, "2026-01-01T00:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn seconds_and_dates_are_heeded_with_429_and_503_only() {
        assert_eq!(asked(429, "120"), Some(Duration::from_mins(2)));
        assert_eq!(asked(503, " 7 "), Some(Duration::from_secs(7)));
        assert_eq!(asked(503, "Thu, 01 Jan 2026 00:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked(500, "120"), None);
        assert_eq!(asked(200, "120"), None);
    }

    #[test]
    fn a_date_that_is_over_asks_for_no_wait_and_nonsense_for_nothing() {
        assert_eq!(asked(503, "Wed, 31 Dec 2025 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked(429, "99999999999999999999999"), Some(Duration::from_secs(u64::from(u32::MAX))));
        for nonsense in ["soon", "", "-5", "1.5"] {
            assert_eq!(asked(429, nonsense), None, "{nonsense}");
        }
    }
}
