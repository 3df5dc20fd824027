//! Follows `KEYS_FILE`: what is changed in it counts within a second, without a restart.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::keyring::{FileState, FollowedFile};
use super::reading::{KeysFileError, Reading, read};
use super::{Keyring, Role};
use crate::background::{self, Progress, RoundError, Worker};
use crate::http::{Check, NotReady};
use crate::lifecycle::Shutdown;
use crate::recurring::Recurring;

/// How often the file is read. Its content is compared, not its time: that may stay the same.
const POLL: Duration = Duration::from_millis(500);
/// A change counts when it is read twice, so far apart: an editor that writes in place is not read half way.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// How long one reading may take before it is logged; a file system may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows the file of `keyring` until the soft stop. Of several calls with clones of a keyring the first follows.
pub async fn follow(keyring: Keyring, shutdown: Shutdown) {
    if let Some(worker) = FollowKeys::claim(keyring) {
        background::run(worker, Arc::new(Notify::new()), POLL, shutdown).await;
    }
}

/// Reads the file again and again.
pub struct FollowKeys {
    keyring: Keyring,
    /// A reading that is not back yet; no other is begun meanwhile.
    reading: Option<JoinHandle<Reading>>,
    /// What was read last, where it differs from what was judged last.
    changed: Option<Reading>,
    refused: Recurring,
}

impl FollowKeys {
    /// The worker for `keyring`; `None`: it has no file, or another worker follows it.
    pub fn claim(keyring: Keyring) -> Option<Self> {
        if !keyring.file().is_some_and(FollowedFile::claim) {
            return None;
        }
        Some(Self { keyring, reading: None, changed: None, refused: Recurring::new() })
    }

    async fn read(&mut self, file: &FollowedFile) -> Result<Reading, RoundError> {
        let path = file.path.clone();
        let reading = self.reading.get_or_insert_with(|| tokio::task::spawn_blocking(move || read(&path)));
        let read = tokio::time::timeout(READ_TIMEOUT, reading).await;
        let read = read.map_err(|_| format!("KEYS_FILE {}: reading takes long", file.path.display()))?;
        self.reading = None;
        Ok(read?)
    }

    /// Makes what was read count, or says why it does not.
    fn judge(&self, file: &FollowedFile, reading: Reading) {
        let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| KeysFileError { path: file.path.clone(), error };
        let outcome = match &reading {
            Reading::Text(text) => self.keyring.adopt(text).map_err(|bad| failed(bad.into())),
            Reading::Missing if file.may_be_missing && !state.was_there => Ok(()),
            Reading::Missing | Reading::Failed(_) => Err(failed(reading.failure())),
        };
        let was_there = state.was_there || matches!(reading, Reading::Text(_));
        *state = FileState { last: reading, failure: outcome.err(), was_there };
        self.log(file, &state);
    }

    fn log(&self, file: &FollowedFile, state: &FileState) {
        let path = file.path.display();
        if let Some(error) = &state.failure {
            if let Some(times) = self.refused.note(error) {
                tracing::error!(keys.file = %path, %error, times, "keys.file_refused");
            }
            return;
        }
        let (operators, merchants) = (self.keyring.count(Role::Operator), self.keyring.count(Role::Merchant));
        tracing::info!(keys.file = %path, keys.operators = operators, keys.merchants = merchants, "keys.file_read");
        if self.keyring.is_empty() {
            tracing::warn!(setting = "KEYS_FILE", "keys.none_configured");
        }
    }
}

#[async_trait]
impl Worker for FollowKeys {
    fn name(&self) -> &'static str {
        "keys.follow"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let keyring = self.keyring.clone();
        let Some(file) = keyring.file() else { return Ok(Progress::Idle) };
        let reading = self.read(file).await?;
        let is_known = file.state.lock().unwrap_or_else(PoisonError::into_inner).last == reading;
        if is_known {
            self.changed = None;
            return Ok(Progress::Idle);
        }
        if self.changed.as_ref() != Some(&reading) {
            self.changed = Some(reading);
            return Ok(Progress::IdleFor(SETTLED_AFTER));
        }
        self.changed = None;
        self.judge(file, reading);
        Ok(Progress::Idle)
    }
}

/// Whether the file's keys count as it stands, for `/readyz`. Anyone may ask, so no name of the file is shown.
pub struct KeysCheck(pub Keyring);

#[async_trait]
impl Check for KeysCheck {
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(file) = self.0.file() else { return Ok(()) };
        let failure = {
            let state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.failure.as_ref().map(KeysFileError::line)
        };
        let why = match failure {
            Some(Some(line)) => format!(
                "line {line} of KEYS_FILE is wrong: its last good keys count (keys.file_refused in the log says more)"
            ),
            Some(None) => {
                "KEYS_FILE can't be read: its last good keys count (keys.file_refused in the log says more)"
                    .to_owned()
            }
            None if self.0.is_empty() => "there is no key: every call is refused with 401".to_owned(),
            None => return Ok(()),
        };
        Err(NotReady(why).into())
    }
}

#[cfg(test)]
mod tests;
