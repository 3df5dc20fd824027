//! How a subscription's webhooks are signed: what everyone may know of it.

use chrono::{DateTime, Utc};
use messaging::webhook::{PublicKey, Scheme};

/// The scheme of the newest key, and the public keys of those that are signed with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signing {
    /// The newest key's.
    pub scheme: Scheme,
    /// Newest first. A shared secret has none.
    pub public_keys: Vec<LivePublicKey>,
    /// What is signed with, newest first: more than one during a rotation.
    pub secrets: Vec<LiveSecret>,
}

/// A secret or private key that signs, as far as everyone may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveSecret {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When a rotation ends it; `None` for the newest.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A public key whose private key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePublicKey {
    /// The key.
    pub key: PublicKey,
    /// When a rotation ends it; `None` for the newest.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Signing {
    /// The newest key's public key, where it has one.
    pub fn public_key(&self) -> Option<PublicKey> {
        let newest = self.public_keys.first().filter(|newest| newest.expires_at.is_none());
        newest.map(|newest| newest.key)
    }
}
