//! The secret that both sides share: HMAC-SHA256, `v1`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::Entropy;

use super::{LENIENT, Scheme, Verifies};

pub(super) const PREFIX: &str = "whsec_";
const NEW_SECRET_BYTES: usize = 32;
/// What the standard asks of a secret: 24 to 64 bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A signing secret, written `whsec_` and base64. Never printed, compared in constant time;
/// [`WebhookSecret::expose`] is the one way to its text.
#[derive(Clone)]
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
}

impl Verifies for WebhookSecret {
    fn scheme(&self) -> Scheme {
        Scheme::V1
    }

    /// Compares in constant time.
    fn made(&self, signature: &[u8], signed: &[u8]) -> bool {
        hmac::verify(&Key::new(HMAC_SHA256, &self.0), signed, signature).is_ok()
    }
}

impl PartialEq for WebhookSecret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for WebhookSecret {}

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

#[cfg(test)]
mod tests {
    use runtime::testing::SeededEntropy;

    use super::*;

    #[test]
    fn a_fresh_secret_is_read_back_and_never_printed() {
        let fresh = WebhookSecret::generate(&SeededEntropy::new(1));
        assert_eq!(fresh.expose().parse(), Ok(fresh.clone()));
        assert_eq!(format!("{fresh:?}"), "[redacted]");
        for text in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*"] {
            assert_eq!(text.parse::<WebhookSecret>(), Err(NotASecret), "{text}");
        }
    }
}
