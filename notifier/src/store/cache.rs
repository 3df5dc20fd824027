//! The directory as it was last read, and the version it was read at.

use std::sync::{Arc, Mutex, PoisonError};

use runtime::Vault;
use runtime::database::StoreResult;

use super::rows::{StoredTime, SubscriptionRow};
use super::secrets::{self, SecretRow};
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

    /// The newest directory that was read, and its version.
    pub(super) fn newest(&self) -> Option<(i64, Arc<Directory>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    vault: &Vault,
) -> StoreResult<Arc<Directory>> {
    let mut opened = secrets::open_all(secrets, vault)?;
    let entries = subscriptions.into_iter().map(|row| {
        let subscription = row.subscription()?;
        let secrets = opened.readable.remove(&subscription.id).unwrap_or_default();
        let mut entry = Entry::new(&subscription, secrets);
        // What this process can't sign it leaves to those that can; nothing is attempted unsigned.
        entry.active &= !opened.unreadable.contains(&subscription.id);
        Ok(entry)
    });
    Ok(Arc::new(Directory::new(entries.collect::<StoreResult<_>>()?)))
}
