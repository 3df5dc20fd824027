//! Resending many notifications, in the background.

use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::StoreError;
use runtime::keys::Caller;
use runtime::validation::Invalid;

use super::{Tools, check_reason};
use crate::domain::{Replay, ReplayFilter};

/// How many notifications one step resends.
const STEP: u32 = 500;
/// The safety net: replays that another process was asked for, or left behind.
pub const POLL: Duration = Duration::from_secs(5);

/// Why no replay was started.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The filter or the reason breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts a replay. `None`: the subscription is not there, or not the caller's.
pub async fn start(
    tools: &Tools,
    caller: &Caller,
    filter: ReplayFilter,
    reason: Option<String>,
) -> Result<Option<Replay>, ReplayError> {
    filter.check()?;
    check_reason(reason.as_deref())?;
    let subscription = tools.store.subscription(filter.subscription, caller.merchant()).await?;
    let Some(subscription) = subscription else { return Ok(None) };
    let replay = Replay {
        id: tools.sources.ids.next(),
        merchant: subscription.merchant,
        filter,
        actor: caller.to_string(),
        reason,
        matched: 0,
        resent: 0,
        created_at: tools.sources.clock.now(),
        finished_at: None,
    };
    tools.store.create_replay(&replay).await?;
    tools.replays.notify_one();
    Ok(Some(replay))
}

/// The worker that carries replays out, one step a round.
pub struct RunReplays(pub Tools);

#[async_trait]
impl Worker for RunReplays {
    fn name(&self) -> &'static str {
        "notifier.replays"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let Tools { store, sources, schedule, .. } = &self.0;
        let ids = sources.ids.clone();
        let step = store.advance_replay(STEP, &move || ids.next(), sources.clock.now()).await?;
        if step.resent > 0 {
            schedule.look_now();
        }
        Ok(if step.more { Progress::More } else { Progress::Idle })
    }
}
