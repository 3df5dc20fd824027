//! Making a subscription, and giving it another secret.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use messaging::webhook::{Scheme, SigningKey};
use runtime::database::{StoreError, StoreResult};
use runtime::duration::HumanDuration;
use runtime::keys::Caller;
use runtime::validation::Invalid;

use super::Tools;
use crate::domain::subscription::Draft;
use crate::domain::{
    LimitReached, Subscription, SubscriptionAction, SubscriptionAudit, SubscriptionId, SubscriptionState,
};
use crate::store::{CreateRefused, NameTaken, Rotation};

/// The longest time that an old secret may be signed with beside the new one.
pub const MAX_OVERLAP: Duration = Duration::from_hours(7 * 24);

/// Why no subscription was made.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The draft breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// See [`NameTaken`].
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// The merchant has as many as it may.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CreateRefused> for SubscribeError {
    fn from(refused: CreateRefused) -> Self {
        match refused {
            CreateRefused::NameTaken(taken) => taken.into(),
            CreateRefused::LimitReached(limit) => limit.into(),
        }
    }
}

/// Makes a subscription of `merchant` (`None`: the operator's own) with a fresh key for `scheme`; a
/// secret is answered in full here alone.
pub async fn subscribe(
    tools: &Tools,
    caller: &Caller,
    merchant: Option<String>,
    draft: Draft,
    scheme: Scheme,
) -> Result<(Subscription, SigningKey), SubscribeError> {
    let definition = draft.check()?;
    let Tools { store, sources, limits, .. } = tools;
    let id = SubscriptionId(sources.ids.next());
    let audit = tools.subscription_audit(SubscriptionAction::Create, caller, None)?;
    let subscription = Subscription {
        id,
        merchant,
        definition,
        state: SubscriptionState::Active,
        created_at: audit.at,
        updated_at: audit.at,
    };
    let key = SigningKey::generate(scheme, &*sources.entropy);
    store.create(&subscription, &key, &audit, limits.subscriptions).await??;
    Ok((subscription, key))
}

/// A rotation that took place.
#[derive(Debug)]
pub struct Rotated {
    /// The new key.
    pub key: SigningKey,
    /// Until when the one before is signed with as well.
    pub overlap_until: DateTime<Utc>,
}

/// Gives a subscription a fresh key, for `scheme` or else for that of the newest; the ones before are
/// signed with beside it for `overlap`. `None`: it is not there, or not the owner's.
pub async fn rotate_secret(
    tools: &Tools,
    id: SubscriptionId,
    owner: Option<&str>,
    scheme: Option<Scheme>,
    overlap: TimeDelta,
    audit: &SubscriptionAudit,
) -> StoreResult<Option<Rotated>> {
    let fresh = |scheme| SigningKey::generate(scheme, &*tools.sources.entropy);
    let overlap_until = audit.at + overlap;
    let rotation = Rotation { scheme, fresh: &fresh, overlap_until, audit };
    let key = tools.store.rotate_secret(id, owner, &rotation).await?;
    Ok(key.map(|key| Rotated { key, overlap_until }))
}

/// The overlap that was asked for: up to seven days.
pub fn overlap(asked: HumanDuration) -> Result<TimeDelta, Invalid> {
    match TimeDelta::from_std(asked.0) {
        Ok(overlap) if asked.0 <= MAX_OVERLAP => Ok(overlap),
        _ => Err(Invalid::field("overlap", "must be 0s to 168h")),
    }
}
