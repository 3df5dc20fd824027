//! The `Retry-After` header (RFC 9110, section 10.2.3).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

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
    Some((http_date(value)? - now).to_std().unwrap_or_default())
}

/// The usual form, and the two old ones that must still be understood (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let old = |form| NaiveDateTime::parse_from_str(text, form).map(|time| time.and_utc());
    let usual = DateTime::parse_from_rfc2822(text).map(|date| date.to_utc());
    usual.or_else(|_| old("%A, %d-%b-%y %H:%M:%S GMT")).or_else(|_| old("%a %b %e %H:%M:%S %Y")).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

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
        for date in
            ["Thu, 01 Jan 2026 00:01:30 GMT", "Thursday, 01-Jan-26 00:01:30 GMT", "Thu Jan  1 00:01:30 2026"]
        {
            assert_eq!(asked(503, date), Some(Duration::from_secs(90)), "{date}");
        }
        assert_eq!(asked(500, "120"), None);
        assert_eq!(asked(200, "120"), None);
    }

    #[test]
    fn a_date_that_is_over_asks_for_no_wait_and_nonsense_for_nothing() {
        assert_eq!(asked(503, "Wed, 31 Dec 2025 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked(429, "99999999999999999999999"), Some(Duration::from_secs(u64::from(u32::MAX))));
        for nonsense in [
            "soon",
            "",
            "-5",
            "+5",
            "1.5",
            "1e3",
            "0x10",
            "5 s",
            "5, 10",
            "tomorrow, 01 Jan 2026 00:00:00 GMT",
            "Thu, 32 Jan 2026 00:00:00 GMT",
            "Thu, 01 Jan 2026 25:00:00 GMT",
            "2026-01-01T00:01:00Z",
        ] {
            assert_eq!(asked(429, nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_first_of_several_counts_and_one_that_is_no_text_is_passed_over() {
        let asked = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(RETRY_AFTER, HeaderValue::from_bytes(value).expect("a value"));
            }
            retry_after(StatusCode::TOO_MANY_REQUESTS, &headers, DateTime::default())
        };
        assert_eq!(asked(&[b"7", b"90"]), Some(Duration::from_secs(7)));
        assert_eq!(asked(&[b"\xFF"]), None);
        assert_eq!(asked(&[]), None);
    }
}
