//! The pair of keys of which only the sender holds the private one: Ed25519, `v1a`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::{Entropy, Secret};

use super::{LENIENT, Scheme, Verifies};

pub(super) const PRIVATE_PREFIX: &str = "whsk_";
pub(super) const PUBLIC_PREFIX: &str = "whpk_";
const SEED_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 32;

/// A private key, written `whsk_` and base64. The standard leaves open what is encoded: we write
/// the 32 bytes of RFC 8032's private key, as its Go library does, and read also the 64 bytes that
/// some write, with the public key behind them. Never printed; [`PrivateKey::expose`] is the one
/// way to its text.
#[derive(Clone)]
pub struct PrivateKey {
    seed: [u8; SEED_BYTES],
    public: PublicKey,
    pair: Arc<Ed25519KeyPair>,
}

/// The text is no private key. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a private key must be `whsk_` followed by the base64 of an Ed25519 private key")]
pub struct NotAPrivateKey;

impl PrivateKey {
    /// A fresh key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut seed = [0; SEED_BYTES];
        entropy.fill(&mut seed);
        Self::new(seed)
    }

    fn new(seed: [u8; SEED_BYTES]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are a private key");
        let public = pair.public_key().as_ref().try_into().expect("a public key has 32 bytes");
        Self { seed, public: PublicKey(public), pair: Arc::new(pair) }
    }

    /// What receivers verify with.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The key's text, for the store that keeps it; nobody else is ever told.
    pub fn expose(&self) -> Secret {
        Secret::new(format!("{PRIVATE_PREFIX}{}", STANDARD.encode(self.seed)))
    }

    /// The signature `v1a,…` of `body` sent as message `id` at `timestamp` (Unix seconds).
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        format!("v1a,{}", STANDARD.encode(self.pair.sign(&signed)))
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.seed, &other.seed).is_ok()
    }
}

impl Eq for PrivateKey {}

impl FromStr for PrivateKey {
    type Err = NotAPrivateKey;

    fn from_str(text: &str) -> Result<Self, NotAPrivateKey> {
        let encoded = text.strip_prefix(PRIVATE_PREFIX).ok_or(NotAPrivateKey)?;
        let bytes = LENIENT.decode(encoded).map_err(|_| NotAPrivateKey)?;
        let (seed, public) = bytes.split_first_chunk().ok_or(NotAPrivateKey)?;
        let key = Self::new(*seed);
        if public.is_empty() || public == key.public.0 { Ok(key) } else { Err(NotAPrivateKey) }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A public key, written `whpk_` and base64. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key must be `whpk_` followed by the base64 of 32 bytes")]
pub struct NotAPublicKey;

impl Verifies for PublicKey {
    fn scheme(&self) -> Scheme {
        Scheme::V1a
    }

    fn made(&self, signature: &[u8], signed: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(signed, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = NotAPublicKey;

    fn from_str(text: &str) -> Result<Self, NotAPublicKey> {
        let encoded = text.strip_prefix(PUBLIC_PREFIX).ok_or(NotAPublicKey)?;
        let bytes = LENIENT.decode(encoded).map_err(|_| NotAPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| NotAPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use runtime::testing::SeededEntropy;

    use super::*;

    #[test]
    fn a_fresh_private_key_is_read_back_and_never_printed() {
        let fresh = PrivateKey::generate(&SeededEntropy::new(1));
        let text = fresh.expose();
        assert_eq!(text.expose().parse(), Ok(fresh.clone()));
        assert_eq!(format!("{fresh:?}"), "[redacted]");
        assert_eq!(fresh.public_key().to_string().parse(), Ok(fresh.public_key()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let short = format!("whsk_{}", STANDARD.encode([1; 31]));
        let mismatched = format!("whsk_{}", STANDARD.encode([1; 64]));
        for text in
            ["", "whsk_", "whsk_*", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", &short, &mismatched]
        {
            assert_eq!(text.parse::<PrivateKey>(), Err(NotAPrivateKey), "{text}");
        }
        for text in ["", "whpk_", "whpk_AAAA", "whsk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="] {
            assert_eq!(text.parse::<PublicKey>(), Err(NotAPublicKey), "{text}");
        }
    }
}
