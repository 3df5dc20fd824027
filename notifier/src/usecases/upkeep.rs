//! Keeping the tables in order, in the background.

use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};

use super::Tools;

/// How many notifications one step moves.
const STEP: u32 = 500;
/// The safety net: what another process left behind.
pub const POLL: Duration = Duration::from_mins(1);

/// The worker that does it, one step a round.
pub struct Upkeep(pub Tools);

#[async_trait]
impl Worker for Upkeep {
    fn name(&self) -> &'static str {
        "notifier.upkeep"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let moved = self.0.store.move_cancelled(STEP).await?;
        Ok(if moved > 0 { Progress::More } else { Progress::Idle })
    }
}
