//! Encrypting what is in plain text, or under an older key, under the first key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::bounded_upkeep;

use crate::store::{SecretPlace, Store};

/// How many secrets one step looks at.
const STEP: u32 = 500;
/// The safety net: secrets that a process without the first key has written meanwhile.
pub const POLL: Duration = Duration::from_mins(10);

/// The worker that walks through all secrets, one step a round.
pub struct ResealSecrets {
    store: Arc<dyn Store>,
    after: SecretPlace,
    resealed: usize,
}

impl ResealSecrets {
    /// A worker at the beginning of its walk.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, after: SecretPlace::START, resealed: 0 }
    }
}

#[async_trait]
impl Worker for ResealSecrets {
    fn name(&self) -> &'static str {
        "notifier.reseal_secrets"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let step = bounded_upkeep(self.store.reseal(self.after, STEP)).await?;
        self.resealed += step.resealed;
        if let Some(last) = step.last {
            self.after = last;
            return Ok(Progress::More);
        }
        if self.resealed > 0 {
            tracing::info!(secrets = self.resealed, "secrets.encrypted_under_the_first_key");
        }
        *self = Self::new(self.store.clone());
        Ok(Progress::Idle)
    }
}
