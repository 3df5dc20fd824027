//! The directory as it was last read, and the version it was read at.

use std::sync::{Arc, Mutex, PoisonError};

use runtime::database::StoreResult;

use super::rows::{SecretRow, StoredTime, SubscriptionRow};
use crate::domain::Directory;
use crate::domain::directory::Entry;

/// Remembers one directory.
#[derive(Debug, Default)]
pub(super) struct DirectoryCache(Mutex<Option<(i64, Arc<Directory>)>>);

impl DirectoryCache {
    /// The directory, if it was read at `version`.
    pub(super) fn at(&self, version: i64) -> Option<Arc<Directory>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(known, _)| *known == version).map(|(_, directory)| directory.clone())
    }

    /// Remembers a directory read at `version` or later. An older one never replaces a newer.
    pub(super) fn keep(&self, version: i64, directory: &Arc<Directory>) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.as_ref().is_none_or(|(known, _)| *known < version) {
            *cached = Some((version, directory.clone()));
        }
    }
}

/// The directory of these rows; `secrets` newest first.
pub(super) fn directory<Time: StoredTime>(
    subscriptions: Vec<SubscriptionRow<Time>>,
    secrets: Vec<SecretRow<Time>>,
) -> StoreResult<Arc<Directory>> {
    let mut by_subscription = std::collections::HashMap::<_, Vec<_>>::new();
    for row in secrets {
        by_subscription.entry(row.subscription_id).or_default().push(row.secret()?);
    }
    let entries = subscriptions.into_iter().map(|row| {
        let subscription = row.subscription()?;
        let secrets = by_subscription.remove(&subscription.id.0).unwrap_or_default();
        Ok(Entry::new(&subscription, secrets))
    });
    Ok(Arc::new(Directory::new(entries.collect::<StoreResult<_>>()?)))
}
