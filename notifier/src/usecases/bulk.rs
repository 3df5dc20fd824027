//! Resending or cancelling many notifications, in the background.

use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{StoreError, bounded_upkeep};
use runtime::keys::Caller;
use runtime::validation::Invalid;

use super::{Tools, check_reason};
use crate::domain::{Bulk, BulkAction, BulkFilter, LimitReached};

/// To how many notifications one step does it.
const STEP: u32 = 500;
/// The safety net: what another process was asked for, or left behind.
pub const POLL: Duration = Duration::from_secs(5);

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The filter or the reason breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The merchant runs as many as it may.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts a bulk action. `None`: the subscription is not there, or not the caller's.
pub async fn start(
    tools: &Tools,
    caller: &Caller,
    action: BulkAction,
    filter: BulkFilter,
    reason: Option<String>,
) -> Result<Option<Bulk>, BulkError> {
    filter.check(action)?;
    check_reason(reason.as_deref())?;
    let subscription = tools.store.subscription(filter.subscription, caller.merchant()).await?;
    let Some(subscription) = subscription else { return Ok(None) };
    let bulk = Bulk {
        id: tools.sources.ids.next(),
        action,
        merchant: subscription.merchant,
        filter,
        actor: caller.to_string(),
        reason,
        matched: 0,
        changed: 0,
        created_at: tools.sources.clock.now(),
        finished_at: None,
    };
    tools.store.create_bulk(&bulk, tools.limits.bulk_actions).await??;
    tools.bulks.notify_one();
    Ok(Some(bulk))
}

/// The worker that carries them out, one step a round, of each merchant in turn.
pub struct RunBulks(pub Tools);

#[async_trait]
impl Worker for RunBulks {
    fn name(&self) -> &'static str {
        "notifier.bulks"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let Tools { store, sources, schedule, .. } = &self.0;
        let ids = sources.ids.clone();
        let step = bounded_upkeep(store.advance_bulk(STEP, &move || ids.next(), sources.clock.now())).await?;
        if step.changed > 0 {
            schedule.look_now();
        }
        Ok(if step.more { Progress::More } else { Progress::Idle })
    }
}
