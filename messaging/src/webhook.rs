//! Signing and verifying by Standard Webhooks 1.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, Utc};
use runtime::Entropy;

/// The header with the message's id: the receiver's deduplication key.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// How far a message's timestamp may be from the receiver's clock, either way.
pub const TOLERANCE: Duration = Duration::from_mins(5);

const PREFIX: &str = "whsec_";
const NEW_SECRET_BYTES: usize = 32;
/// What the standard asks of a secret: 24 to 64 bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets are taken with and without padding, as the standard's libraries do.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A signing secret, written `whsec_` and base64. Never printed; [`WebhookSecret::expose`] is the
/// one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// The text is no signing secret. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret must be `whsec_` followed by the base64 of 24 to 64 bytes")]
pub struct NotASecret;

impl WebhookSecret {
    /// A fresh secret.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = vec![0; NEW_SECRET_BYTES];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// The secret's text, for the answer that shows it and for the store that keeps it.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The signature `v1,…` of `body` sent as message `id` at `timestamp` (Unix seconds).
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = Key::new(HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }

    /// Compares in constant time.
    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&Key::new(HMAC_SHA256, &self.0), signed, signature).is_ok()
    }
}

impl FromStr for WebhookSecret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NotASecret)?;
        let bytes = LENIENT.decode(encoded).map_err(|_| NotASecret)?;
        if SECRET_BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(NotASecret) }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a received message claims about itself: its three headers, where they are there and text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a> {
    /// [`ID_HEADER`].
    pub id: Option<&'a str>,
    /// [`TIMESTAMP_HEADER`].
    pub timestamp: Option<&'a str>,
    /// [`SIGNATURE_HEADER`].
    pub signature: Option<&'a str>,
}

/// Why a received message is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header is missing, empty or unreadable.
    #[error("the header `{0}` is missing or unreadable")]
    Header(&'static str),
    /// Sent too long ago or in the future: perhaps a replay.
    #[error("`webhook-timestamp` is more than 5 minutes off")]
    Stale,
    /// No signature was made with a known secret.
    #[error("no signature in `webhook-signature` matches")]
    Signature,
}

/// Believes a message that one of `secrets` signed within [`TOLERANCE`] of `now`.
pub fn verify(
    secrets: &[WebhookSecret],
    claims: Claims<'_>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Unverified> {
    let present = |claim: Option<_>, header| {
        claim.filter(|text: &&str| !text.is_empty()).ok_or(Unverified::Header(header))
    };
    let id = present(claims.id, ID_HEADER)?;
    let timestamp = present(claims.timestamp, TIMESTAMP_HEADER)?;
    let signature = present(claims.signature, SIGNATURE_HEADER)?;
    let sent: i64 = timestamp.parse().map_err(|_| Unverified::Header(TIMESTAMP_HEADER))?;
    if now.timestamp().abs_diff(sent) > TOLERANCE.as_secs() {
        return Err(Unverified::Stale);
    }
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let candidates = signature.split(' ').filter_map(|part| STANDARD.decode(part.strip_prefix("v1,")?).ok());
    let mut known = candidates.flat_map(|made| secrets.iter().map(move |secret| (secret, made.clone())));
    if known.any(|(secret, made)| secret.verifies(&signed, &made)) {
        Ok(())
    } else {
        Err(Unverified::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the standard's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SENT: i64 = 1_614_265_330;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> WebhookSecret {
        SECRET.parse().expect("a secret")
    }

    fn after(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(SENT + seconds, 0).expect("a time")
    }

    fn claims<'a>(timestamp: &'a str, signature: &'a str) -> Claims<'a> {
        Claims { id: Some(ID), timestamp: Some(timestamp), signature: Some(signature) }
    }

    #[test]
    fn the_standards_own_example_is_signed_and_verified() {
        assert_eq!(secret().sign(ID, SENT, BODY), SIGNATURE);
        assert_eq!(verify(&[secret()], claims("1614265330", SIGNATURE), BODY, after(0)), Ok(()));
    }

    #[test]
    fn one_matching_signature_among_several_is_enough_whichever_secret_made_it() {
        let old: WebhookSecret = format!("whsec_{}", STANDARD.encode([7; 24])).parse().expect("a secret");
        let several = format!("v1a,xyz v1,AAAA {SIGNATURE}");
        assert_eq!(verify(&[old, secret()], claims("1614265330", &several), BODY, after(0)), Ok(()));
    }

    #[test]
    fn a_changed_byte_a_missing_header_or_five_minutes_are_refused() {
        let secrets = [secret()];
        let intact = claims("1614265330", SIGNATURE);
        assert_eq!(verify(&secrets, intact, b"{}", after(0)), Err(Unverified::Signature));
        assert_eq!(
            verify(&secrets, claims("1614265331", SIGNATURE), BODY, after(0)),
            Err(Unverified::Signature)
        );
        assert_eq!(verify(&[], intact, BODY, after(0)), Err(Unverified::Signature));
        let nameless = Claims { id: None, ..intact };
        assert_eq!(verify(&secrets, nameless, BODY, after(0)), Err(Unverified::Header(ID_HEADER)));
        assert_eq!(verify(&secrets, intact, BODY, after(300)), Ok(()));
        for off in [301, -301] {
            assert_eq!(verify(&secrets, intact, BODY, after(off)), Err(Unverified::Stale));
        }
    }

    #[test]
    fn a_fresh_secret_is_read_back_and_never_printed() {
        let fresh = WebhookSecret::generate(&runtime::testing::SeededEntropy::new(1));
        assert_eq!(fresh.expose().parse(), Ok(fresh.clone()));
        assert_eq!(format!("{fresh:?}"), "[redacted]");
        for text in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*"] {
            assert_eq!(text.parse::<WebhookSecret>(), Err(NotASecret), "{text}");
        }
    }
}
