//! Either kind of key that a sender signs with.

use std::fmt;
use std::str::FromStr;

use runtime::{Entropy, Secret};
use serde::{Deserialize, Serialize};

use super::{PrivateKey, PublicKey, WebhookSecret, key_pair, secret};

/// How webhooks are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HMAC-SHA256 with a secret that both sides hold.
    #[default]
    V1,
    /// Ed25519: the sender alone can sign, everyone can verify.
    V1a,
}

impl Scheme {
    /// The standard's identifier: `v1` or `v1a`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }
}

/// What a sender signs with.
#[derive(Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// For `v1`.
    Secret(WebhookSecret),
    /// For `v1a`.
    Private(PrivateKey),
}

/// The text is neither a signing secret nor a private key. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a signing secret (`whsec_…`) or a private key (`whsk_…`)")]
pub struct NotASigningKey;

impl SigningKey {
    /// A fresh key for `scheme`.
    pub fn generate(scheme: Scheme, entropy: &dyn Entropy) -> Self {
        match scheme {
            Scheme::V1 => Self::Secret(WebhookSecret::generate(entropy)),
            Scheme::V1a => Self::Private(PrivateKey::generate(entropy)),
        }
    }

    /// How it signs.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Secret(_) => Scheme::V1,
            Self::Private(_) => Scheme::V1a,
        }
    }

    /// What receivers verify with and everyone may know; `None`: they need the secret itself.
    pub fn public_key(&self) -> Option<PublicKey> {
        match self {
            Self::Secret(_) => None,
            Self::Private(key) => Some(key.public_key()),
        }
    }

    /// The key's text, for the store that keeps it.
    pub fn expose(&self) -> Secret {
        match self {
            Self::Secret(secret) => Secret::new(secret.expose()),
            Self::Private(key) => key.expose(),
        }
    }

    /// The signature of `body` sent as message `id` at `timestamp` (Unix seconds), with its
    /// scheme's identifier.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        match self {
            Self::Secret(secret) => secret.sign(id, timestamp, body),
            Self::Private(key) => key.sign(id, timestamp, body),
        }
    }
}

impl From<WebhookSecret> for SigningKey {
    fn from(secret: WebhookSecret) -> Self {
        Self::Secret(secret)
    }
}

impl From<PrivateKey> for SigningKey {
    fn from(key: PrivateKey) -> Self {
        Self::Private(key)
    }
}

/// Reads what [`SigningKey::expose`] wrote.
impl FromStr for SigningKey {
    type Err = NotASigningKey;

    fn from_str(text: &str) -> Result<Self, NotASigningKey> {
        if text.starts_with(secret::PREFIX) {
            text.parse().map(Self::Secret).map_err(|_| NotASigningKey)
        } else if text.starts_with(key_pair::PRIVATE_PREFIX) {
            text.parse().map(Self::Private).map_err(|_| NotASigningKey)
        } else {
            Err(NotASigningKey)
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use runtime::testing::SeededEntropy;

    use super::*;

    #[test]
    fn a_key_of_either_scheme_is_read_back_and_never_printed() {
        for scheme in [Scheme::V1, Scheme::V1a] {
            let key = SigningKey::generate(scheme, &SeededEntropy::new(1));
            assert_eq!(key.expose().expose().parse(), Ok(key.clone()));
            assert_eq!((key.scheme(), key.public_key().is_some()), (scheme, scheme == Scheme::V1a));
            assert!(key.sign("id", 1, b"{}").starts_with(&format!("{},", scheme.as_str())));
            assert_eq!(format!("{key:?}"), "[redacted]");
        }
        for text in ["", "whsec_", "whsk_AAAA", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="] {
            assert_eq!(text.parse::<SigningKey>(), Err(NotASigningKey), "{text}");
        }
    }
}
