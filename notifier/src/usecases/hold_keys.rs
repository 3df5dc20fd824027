//! Notifiers of one database agree on their keys before one of them writes anything: what one encrypts, the others
//! can read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use chrono::TimeDelta;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::bounded;
use runtime::startup::until_open;
use runtime::{Shutdown, Sources};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::domain::vault_keys::Disagreement;
use crate::store::Store;

/// How often a process says that it still runs.
pub const POLL: Duration = Duration::from_secs(5);
/// A process that has not said so for this long has died. Longer than clocks may differ, and some polls more.
const DEAD_AFTER: TimeDelta = TimeDelta::seconds(60);
/// How often the keys of others are looked at again while they do not agree.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is waited for a process that may have died. It is over sooner: one that lives says so.
const PATIENCE: Duration = Duration::from_secs(90);

/// Says that this process holds its keys, and goes on to say so.
pub struct HoldKeys {
    store: Arc<dyn Store>,
    sources: Sources,
    process: Uuid,
}

impl HoldKeys {
    /// Agrees with the other notifiers on the keys, or says what is wrong. `None`: stopped meanwhile. A process that
    /// was killed may stand in the way for a minute; one that lives is noticed by its next sign.
    pub async fn start(
        store: Arc<dyn Store>,
        sources: Sources,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<Self>> {
        let process = sources.ids.next();
        let holding = Self { store, sources, process };
        let deadline = Instant::now() + PATIENCE;
        let mut seen = HashMap::new();
        loop {
            let Some(found) = until_open("database", shutdown, || holding.hold()).await else {
                return Ok(None);
            };
            let Some(first) = found.first() else { return Ok(Some(holding)) };
            let lives = |other: &&Disagreement| {
                seen.get(&other.process).is_some_and(|before| *before < other.seen_at)
            };
            if let Some(Disagreement { mismatch, .. }) = found.iter().find(lives) {
                bail!("SECRET_KEYS (--secret-keys): {mismatch}");
            }
            if Instant::now() >= deadline {
                bail!("SECRET_KEYS (--secret-keys): {}", first.mismatch);
            }
            if seen.is_empty() {
                let mismatch = &first.mismatch;
                tracing::warn!(startup.waits_for = "keys", %mismatch, "secrets.keys_disagree");
            }
            for other in found {
                seen.entry(other.process).or_insert(other.seen_at);
            }
            if shutdown.unless_stopping(sleep(LOOK)).await.is_none() {
                return Ok(None);
            }
        }
    }

    async fn hold(&self) -> runtime::database::StoreResult<Vec<Disagreement>> {
        let now = self.sources.clock.now();
        bounded(self.store.hold_keys(self.process, now, now - DEAD_AFTER)).await
    }

    /// Says that this process has ended, so that the next one need not wait. Where that fails, it waits.
    pub async fn end(self) {
        if let Err(error) = bounded(self.store.release_keys(self.process)).await {
            tracing::debug!(%error, "secrets.keys_not_released");
        }
    }
}

#[async_trait]
impl Worker for HoldKeys {
    fn name(&self) -> &'static str {
        "notifier.hold_keys"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let now = self.sources.clock.now();
        if bounded(self.store.still_holds_keys(self.process, now)).await? {
            return Ok(Progress::Idle);
        }
        // Another process took this one for dead, or the database was restored.
        match self.hold().await?.first() {
            None => Ok(Progress::Idle),
            Some(Disagreement { mismatch, .. }) => Err(format!("SECRET_KEYS: {mismatch}").into()),
        }
    }
}
