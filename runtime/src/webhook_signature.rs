//! Signatures of Standard Webhooks 1.0, scheme `v1` (symmetric)
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
//! base64 of HMAC-SHA256 over `id.timestamp.body`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};

use crate::identity::Entropy;
use crate::secret::Secret;

/// The message's id: the same on every attempt, the receiver's deduplication key.
pub const ID_HEADER: &str = "webhook-id";
/// When the attempt was made, in seconds since the epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How far a timestamp may be off, before or behind.
pub const TOLERANCE: Duration = Duration::from_mins(5);

const PREFIX: &str = "whsec_";
const SCHEME: &str = "v1,";
/// How long the secrets are that we make, in bytes.
const OWN_LENGTH: usize = 32;

/// A signing secret: `whsec_` and the base64 of 24 to 64 bytes. Never printed.
#[derive(Clone)]
pub struct WebhookSecret {
    text: Secret,
    key: hmac::Key,
}

/// The text is no signing secret. Does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `whsec_` followed by the base64 of 24 to 64 bytes")]
pub struct NotAWebhookSecret;

impl WebhookSecret {
    /// A fresh secret.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0_u8; OWN_LENGTH];
        entropy.fill(&mut bytes);
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let text = Secret::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes)));
        Self { text, key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// The `whsec_…` text, for storing it and for showing it to its owner once.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// The signature of one attempt: `v1,…`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("{SCHEME}{}", BASE64_STANDARD.encode(context.sign()))
    }

    /// Whether `signature` (raw bytes) is this secret's; compares in constant time.
    fn matches(&self, signed: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.key, signed, signature).is_ok()
    }
}

impl FromStr for WebhookSecret {
    type Err = NotAWebhookSecret;

    fn from_str(text: &str) -> Result<Self, NotAWebhookSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NotAWebhookSecret)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| NotAWebhookSecret)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(NotAWebhookSecret);
        }
        Ok(Self::from_bytes(&bytes))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The `webhook-signature` header: one signature per live secret, so that a receiver that holds
/// either of two secrets during a rotation finds its own.
pub fn signature_header(secrets: &[WebhookSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

/// Why a message is not taken as genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The header is missing, repeated or no text.
    #[error("the header `{0}` is required, once")]
    MissingHeader(&'static str),
    /// The timestamp is no number.
    #[error("`webhook-timestamp` must be whole seconds since 1970")]
    UnreadableTimestamp,
    /// Too old, or too far in the future: a replay, or a wrong clock.
    #[error("`webhook-timestamp` is too far from the present")]
    OutsideTolerance,
    /// No `v1` signature was made with a known secret over this id, timestamp and body.
    #[error("no `v1` signature matches")]
    NoMatch,
}

/// Checks that one of `secrets` signed `body` under these headers, not more than `tolerance`
/// from `now`. Any number of signatures may be there; those of other schemes are passed over.
pub fn verify(
    secrets: &[WebhookSecret],
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
    tolerance: Duration,
) -> Result<(), Unverified> {
    let id = header(headers, ID_HEADER)?;
    let timestamp = header(headers, TIMESTAMP_HEADER)?;
    let signatures = header(headers, SIGNATURE_HEADER)?;
    let seconds: i64 = timestamp.parse().map_err(|_| Unverified::UnreadableTimestamp)?;
    if now.timestamp().abs_diff(seconds) > tolerance.as_secs() {
        return Err(Unverified::OutsideTolerance);
    }
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let presented = signatures
        .split(' ')
        .filter_map(|signature| signature.strip_prefix(SCHEME))
        .filter_map(|encoded| BASE64_STANDARD.decode(encoded).ok());
    let genuine = |signature: Vec<u8>| secrets.iter().any(|secret| secret.matches(&signed, &signature));
    if presented.into_iter().any(genuine) { Ok(()) } else { Err(Unverified::NoMatch) }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unverified> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(text)), None) if !text.is_empty() => Ok(text),
        _ => Err(Unverified::MissingHeader(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    // The example that the standard's own libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> WebhookSecret {
        SECRET.parse().expect("a secret")
    }

    fn headers(signature: &str) -> HeaderMap {
        let timestamp = TIMESTAMP.to_string();
        let headers = [(ID_HEADER, ID), (TIMESTAMP_HEADER, &timestamp), (SIGNATURE_HEADER, signature)];
        headers
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .into_iter()
            .collect()
    }

    fn verify_at(signature: &str, body: &[u8], offset: i64) -> Result<(), Unverified> {
        let now = DateTime::from_timestamp(TIMESTAMP + offset, 0).expect("a time");
        verify(&[secret()], &headers(signature), body, now, TOLERANCE)
    }

    #[test]
    fn the_standards_own_example_is_signed_the_same() {
        assert_eq!(secret().sign(ID, TIMESTAMP, BODY), SIGNATURE);
        assert_eq!(verify_at(SIGNATURE, BODY, 0), Ok(()));
    }

    #[test]
    fn any_of_several_signatures_is_enough_and_other_schemes_are_passed_over() {
        let other = WebhookSecret::generate(&SeededEntropy::new(1));
        let header = signature_header(&[other, secret()], ID, TIMESTAMP, BODY);
        assert_eq!(verify_at(&header, BODY, 0), Ok(()));
        assert_eq!(verify_at(&format!("v1a,zzz v2,x v1,!!! {SIGNATURE}"), BODY, 0), Ok(()));
    }

    #[test]
    fn an_altered_body_or_a_foreign_signature_is_refused() {
        assert_eq!(verify_at(SIGNATURE, br#"{"test": 2432232315}"#, 0), Err(Unverified::NoMatch));
        let foreign = WebhookSecret::generate(&SeededEntropy::new(1)).sign(ID, TIMESTAMP, BODY);
        assert_eq!(verify_at(&foreign, BODY, 0), Err(Unverified::NoMatch));
        assert_eq!(verify_at("v1,", BODY, 0), Err(Unverified::NoMatch));
    }

    #[test]
    fn a_timestamp_more_than_five_minutes_off_is_refused_either_way() {
        for (offset, expected) in [(300, true), (-300, true), (301, false), (-301, false)] {
            assert_eq!(verify_at(SIGNATURE, BODY, offset).is_ok(), expected, "{offset}");
        }
    }

    #[test]
    fn a_missing_or_repeated_header_is_named() {
        for name in [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER] {
            let now = DateTime::from_timestamp(TIMESTAMP, 0).expect("a time");
            let mut missing = headers(SIGNATURE);
            missing.remove(name);
            let mut twice = headers(SIGNATURE);
            twice.append(name, "1".parse().expect("a value"));
            for headers in [missing, twice] {
                let result = verify(&[secret()], &headers, BODY, now, TOLERANCE);
                assert_eq!(result, Err(Unverified::MissingHeader(name)));
            }
        }
    }

    #[test]
    fn a_generated_secret_reads_back_and_is_not_printed() {
        let made = WebhookSecret::generate(&SeededEntropy::new(7));
        let read: WebhookSecret = made.text().expose().parse().expect("what we made is a secret");
        assert_eq!(read.sign("a", 1, b"x"), made.sign("a", 1, b"x"));
        assert_eq!(format!("{made:?}"), "[redacted]");
        for text in
            ["", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILA==", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!"]
        {
            assert_eq!(text.parse::<WebhookSecret>().err(), Some(NotAWebhookSecret), "{text}");
        }
    }
}
