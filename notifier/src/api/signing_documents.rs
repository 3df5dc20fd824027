//! What the outside sees of the keys that webhooks are signed with.

use chrono::{DateTime, Utc};
use messaging::webhook::SigningKey;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::Signature;
use super::documents::SubscriptionDocument;
use crate::domain::signing::{LivePublicKey, LiveSecret};
use crate::domain::{Signing, Subscription};
use crate::usecases::subscribe::Rotated;

/// A public key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublicKey)]
pub struct PublicKeyDocument {
    #[schema(example = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")]
    public_key: String,
    /// When a rotation ends it; `null` for the newest.
    expires_at: Option<DateTime<Utc>>,
}

impl From<&LivePublicKey> for PublicKeyDocument {
    fn from(live: &LivePublicKey) -> Self {
        Self { public_key: live.key.to_string(), expires_at: live.expires_at }
    }
}

/// A secret or private key that webhooks are signed with; itself it is shown where it is made, and never again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Secret)]
pub struct SecretDocument {
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When a rotation ends it; `null` for the newest.
    expires_at: Option<DateTime<Utc>>,
}

impl From<&LiveSecret> for SecretDocument {
    fn from(live: &LiveSecret) -> Self {
        Self { created_at: live.created_at, expires_at: live.expires_at }
    }
}

/// A subscription with its newest secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedSubscription {
    #[serde(flatten)]
    subscription: SubscriptionDocument,
    /// What to verify with, for `v1`; shown here and never again. `null` for `v1a`.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
}

/// What a receiver needs of a new key: the secret that it shares. Of a key pair it needs the public
/// key alone.
fn shared_secret(key: &SigningKey) -> Option<String> {
    match key {
        SigningKey::Secret(secret) => Some(secret.expose()),
        SigningKey::Private(_) => None,
    }
}

impl CreatedSubscription {
    /// The answer to the making of `subscription`.
    pub fn new(subscription: &Subscription, key: &SigningKey) -> Self {
        let newest = key.public_key().map(|key| LivePublicKey { key, expires_at: None });
        let secrets = vec![LiveSecret { created_at: subscription.created_at, expires_at: None }];
        let signing = Signing { scheme: key.scheme(), public_keys: newest.into_iter().collect(), secrets };
        let subscription = SubscriptionDocument::new(subscription, &signing, None);
        Self { subscription, secret: shared_secret(key) }
    }
}

/// The new key.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedSecret {
    /// The subscription.
    id: Uuid,
    /// How webhooks are signed from now on: `v1` or `v1a`.
    #[schema(value_type = Signature)]
    signature: &'static str,
    /// What to verify with from now on, for `v1`; shown here and never again. `null` for `v1a`.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
    /// What to verify with from now on, for `v1a`.
    public_key: Option<String>,
    /// Until when the keys before are signed with as well.
    overlap_until: DateTime<Utc>,
}

impl RotatedSecret {
    /// The answer to a rotation of the subscription `id`.
    pub fn new(id: Uuid, rotated: &Rotated) -> Self {
        let Rotated { key, overlap_until } = rotated;
        Self {
            id,
            signature: key.scheme().as_str(),
            secret: shared_secret(key),
            public_key: key.public_key().map(|key| key.to_string()),
            overlap_until: *overlap_until,
        }
    }
}
