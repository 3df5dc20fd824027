//! Where webhooks of a subscription go and how: all that delivery needs to know of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::Ladder;
use messaging::webhook::SigningKey;
use runtime::duration::HumanDuration;
use runtime::validation::Invalid;
use url::Url;

use super::{AckRule, SubscriptionId};

/// How long a whole exchange may take: 1 s to 30 s, whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestTimeout(Duration);

impl RequestTimeout {
    /// The shortest.
    pub const MIN: Duration = Duration::from_secs(1);
    /// The longest.
    pub const MAX: Duration = Duration::from_secs(30);

    /// Refuses what is shorter than 1 s or longer than 30 s.
    pub fn new(timeout: HumanDuration) -> Result<Self, Invalid> {
        if (Self::MIN..=Self::MAX).contains(&timeout.0) {
            Ok(Self(timeout.0))
        } else {
            Err(Invalid::field("timeout", "must be 1s to 30s"))
        }
    }

    /// The time itself.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for RequestTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// A key webhooks are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningSecret {
    /// The key.
    pub key: SigningKey,
    /// When a rotation ends it; `None` for the newest.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A subscription as delivery sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Where to `POST`.
    pub url: Url,
    /// Headers the subscriber asked for; none of ours among them.
    pub headers: Vec<(String, String)>,
    /// How long a whole exchange may take.
    pub timeout: RequestTimeout,
    /// What counts as acknowledgement.
    pub ack: AckRule,
    /// The waits between attempts.
    pub ladder: Ladder,
    /// How many attempts may be under way at once, in this process.
    pub max_in_flight: u32,
    /// How many attempts may start a second, in this process.
    pub rate_limit: Option<u32>,
    /// What webhooks are signed with, newest first; see [`Endpoint::live_keys`].
    pub secrets: Vec<SigningSecret>,
}

impl Endpoint {
    /// The keys to sign with at `now`, newest first.
    pub fn live_keys(&self, now: DateTime<Utc>) -> impl Iterator<Item = &SigningKey> {
        self.secrets.iter().filter(move |s| s.expires_at.is_none_or(|end| now < end)).map(|s| &s.key)
    }

    /// The waits between attempts.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }
}
