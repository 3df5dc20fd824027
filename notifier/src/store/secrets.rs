//! Signing keys as they lie in their table: sealed, each for its own row.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::webhook::{PublicKey, Scheme, SigningKey};
use runtime::Vault;
use runtime::database::StoreResult;
use runtime::vault::{Sealed, Unreadable};
use uuid::Uuid;

use super::rows::{StoredTime, optional, readable};
use crate::domain::signing::{LivePublicKey, LiveSecret};
use crate::domain::vault_keys::Disagreement;
use crate::domain::{Signing, SigningSecret, SubscriptionAudit, SubscriptionId};

/// The most signing keys a subscription has at once; a rotation beyond it drops the oldest.
pub(super) const MAX_SECRETS: i64 = 5;

/// A key of the configuration that is not there, though secrets are encrypted under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingKey {
    /// Its id.
    pub id: String,
    /// How many subscriptions' secrets need it.
    pub subscriptions: i64,
}

/// A row of the secrets' table. Rows are walked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretPlace {
    /// Whose secret.
    pub subscription: SubscriptionId,
    /// Which of its secrets; they count from 1.
    pub ordinal: i64,
}

impl SecretPlace {
    /// Before every row.
    pub const START: Self = Self { subscription: SubscriptionId(Uuid::nil()), ordinal: 0 };

    /// What binds a sealed secret to its row.
    fn bytes(self) -> Vec<u8> {
        let table: &[u8] = b"subscription_secrets";
        [table, self.subscription.0.as_bytes(), &self.ordinal.to_be_bytes()].concat()
    }

    pub(super) fn seal(self, key: &SigningKey, vault: &Vault) -> Sealed {
        vault.seal(&key.expose(), &self.bytes())
    }
}

/// What one step of sealing anew did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Secrets that are under the first key now.
    pub resealed: usize,
    /// The last row looked at, where the next step begins; `None`: there is none left.
    pub last: Option<SecretPlace>,
}

/// How a secret is to be rotated.
pub struct Rotation<'a> {
    /// The new key's scheme; `None`: that of the newest there is.
    pub scheme: Option<Scheme>,
    /// Makes the new key.
    pub fresh: &'a (dyn Fn(Scheme) -> SigningKey + Send + Sync),
    /// Until when the keys before are signed with, or until the end they had when that is earlier.
    pub overlap_until: DateTime<Utc>,
    /// Who does it and why; `audit.at` is the present.
    pub audit: &'a SubscriptionAudit,
}

impl Rotation<'_> {
    /// The new key; `asymmetric`: whether the newest there is is a private key.
    pub(super) fn key(&self, asymmetric: bool) -> SigningKey {
        let present = if asymmetric { Scheme::V1a } else { Scheme::V1 };
        (self.fresh)(self.scheme.unwrap_or(present))
    }
}

/// What webhooks are signed with, and how it is kept.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// How each of `subscriptions` is signed at `now`, as far as everyone may know it.
    async fn signing(
        &self,
        subscriptions: &[SubscriptionId],
        now: DateTime<Utc>,
    ) -> StoreResult<HashMap<SubscriptionId, Signing>>;

    /// Gives a subscription a new key. `None`: it is not there.
    async fn rotate_secret(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        rotation: &Rotation<'_>,
    ) -> StoreResult<Option<SigningKey>>;

    /// Which keys secrets are encrypted under that the vault does not have.
    async fn missing_keys(&self) -> StoreResult<Vec<MissingKey>>;

    /// Says that `process` runs at `now` with the vault's keys, unless they do not agree with those of other
    /// processes that said so since `alive_since`: then nothing is written, and the answer is those.
    async fn hold_keys(
        &self,
        process: Uuid,
        now: DateTime<Utc>,
        alive_since: DateTime<Utc>,
    ) -> StoreResult<Vec<Disagreement>>;

    /// Says that `process` still runs. `false`: it is not among those that hold keys (any more).
    async fn still_holds_keys(&self, process: Uuid, now: DateTime<Utc>) -> StoreResult<bool>;

    /// Says that `process` has ended.
    async fn release_keys(&self, process: Uuid) -> StoreResult<()>;

    /// Looks at up to `limit` secrets after `after` that are not under the vault's first key, and
    /// seals those that can be read under it. Without a key nothing is done: what was encrypted is
    /// never written in plain text again.
    async fn reseal(&self, after: SecretPlace, limit: u32) -> StoreResult<Resealed>;
}

/// A sealed secret with its place.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct SealedRow {
    pub(super) subscription_id: Uuid,
    pub(super) ordinal: i64,
    pub(super) key_id: Option<String>,
    pub(super) secret: Vec<u8>,
}

impl SealedRow {
    pub(super) fn place(&self) -> SecretPlace {
        SecretPlace { subscription: SubscriptionId(self.subscription_id), ordinal: self.ordinal }
    }

    fn open(self, vault: &Vault) -> Result<SigningKey, Unreadable> {
        let place = self.place().bytes();
        let secret = vault.open(&Sealed { key_id: self.key_id, bytes: self.secret }, &place)?;
        secret.expose().parse().map_err(|_| Unreadable::Altered)
    }

    /// The same secret under the vault's first key; `None`: it can't be read.
    pub(super) fn reseal(self, vault: &Vault) -> Option<Sealed> {
        let place = self.place();
        Some(place.seal(&self.open(vault).ok()?, vault))
    }
}

/// A key as far as everyone may know it. Of each subscription the newest comes first.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct PublicRow<Time> {
    subscription_id: Uuid,
    public_key: Option<String>,
    created_at: Time,
    expires_at: Option<Time>,
}

/// The columns of a [`PublicRow`]. A process that did not write yet when a secret was made leaves that out.
pub(super) const PUBLIC_COLUMNS: &str = "SELECT subscription_id, public_key, coalesce(created_at, (
         SELECT s.created_at FROM subscriptions s WHERE s.id = subscription_id)) AS created_at, expires_at
     FROM subscription_secrets";

/// How the subscriptions of `rows` are signed at `now`.
pub(super) fn signing<Time: StoredTime>(
    rows: Vec<PublicRow<Time>>,
    now: DateTime<Utc>,
) -> StoreResult<HashMap<SubscriptionId, Signing>> {
    let mut all = HashMap::<SubscriptionId, Signing>::new();
    for PublicRow { subscription_id, public_key, created_at, expires_at } in rows {
        let expires_at = readable(optional(expires_at).ok(), "secret of subscription", subscription_id)?;
        let created_at = readable(created_at.time(), "secret of subscription", subscription_id)?;
        let key: Option<PublicKey> = match public_key {
            Some(text) => Some(readable(text.parse().ok(), "public key of subscription", subscription_id)?),
            None => None,
        };
        let scheme = if key.is_some() { Scheme::V1a } else { Scheme::V1 };
        let entry = all.entry(SubscriptionId(subscription_id));
        let signing = entry.or_insert(Signing { scheme, ..Signing::default() });
        if expires_at.is_none_or(|end| now < end) {
            signing.secrets.push(LiveSecret { created_at, expires_at });
            signing.public_keys.extend(key.map(|key| LivePublicKey { key, expires_at }));
        }
    }
    Ok(all)
}

/// A secret as the directory reads it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct SecretRow<Time> {
    #[sqlx(flatten)]
    sealed: SealedRow,
    expires_at: Option<Time>,
}

/// The secrets of a directory.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// By subscription, each in the order of the rows.
    pub(super) readable: HashMap<SubscriptionId, Vec<SigningSecret>>,
    /// Whose secrets can't all be read.
    pub(super) unreadable: HashSet<SubscriptionId>,
}

/// Opens `rows`; says in the log when some can't be.
pub(super) fn open_all<Time: StoredTime>(rows: Vec<SecretRow<Time>>, vault: &Vault) -> StoreResult<Opened> {
    let mut all = Opened::default();
    let mut first = None;
    for SecretRow { sealed, expires_at } in rows {
        let subscription = SubscriptionId(sealed.subscription_id);
        let expires_at = readable(optional(expires_at).ok(), "secret of subscription", subscription)?;
        match sealed.open(vault) {
            Ok(key) => {
                all.readable.entry(subscription).or_default().push(SigningSecret { key, expires_at });
            }
            Err(error) => {
                all.unreadable.insert(subscription);
                first.get_or_insert((subscription, error));
            }
        }
    }
    if let Some((subscription, error)) = first {
        let count = all.unreadable.len();
        tracing::error!(subscription.id = %subscription, subscriptions = count, %error, "secrets.unreadable");
    }
    Ok(all)
}

/// Those of `counts` (how many subscriptions use each key) that `vault` does not have.
pub(super) fn missing(counts: Vec<(String, i64)>, vault: &Vault) -> Vec<MissingKey> {
    let unknown = counts.into_iter().filter(|(id, _)| vault.key_ids().all(|known| known != id));
    unknown.map(|(id, subscriptions)| MissingKey { id, subscriptions }).collect()
}

/// What [`SecretStore::missing_keys`] asks of either database.
pub(super) const KEYS_IN_USE: &str =
    "SELECT key_id, count(DISTINCT subscription_id) FROM subscription_secrets
    WHERE key_id IS NOT NULL GROUP BY key_id ORDER BY key_id";
