//! Resending or cancelling many notifications, in the background.

use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{StoreError, bounded_upkeep};
use runtime::keys::Caller;
use runtime::validation::Invalid;

use super::{Tools, check_reason};
use crate::domain::notification::StateName;
use crate::domain::{Bulk, BulkAction, BulkFilter, LimitReached, Preview};

/// To how many notifications one step does it.
const STEP: u32 = 500;
/// So many notifications at least a preview counts, if there are so many.
const MAX_PREVIEW: u32 = 10_000;
/// So many times it looks for more; each time at two thousand notifications at most.
const MAX_LOOKS: usize = 50;
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
    let Some(merchant) = owner(tools, caller, &filter).await? else { return Ok(None) };
    let bulk = new_bulk(tools, caller, action, merchant, filter, reason);
    tools.store.create_bulk(&bulk, tools.limits.bulk_actions).await??;
    tools.bulks.notify_one();
    Ok(Some(bulk))
}

/// What a replay of `filter` would send, had it run now. `None`: the subscription is not there, or not the caller's.
pub async fn preview(
    tools: &Tools,
    caller: &Caller,
    filter: BulkFilter,
) -> Result<Option<Preview>, BulkError> {
    filter.check(BulkAction::Replay)?;
    let Some(merchant) = owner(tools, caller, &filter).await? else { return Ok(None) };
    // A replay passes over what is under way.
    let filter = BulkFilter { states: filter.states.without(StateName::Delivering), ..filter };
    let bulk = new_bulk(tools, caller, BulkAction::Replay, merchant, filter, None);
    let (mut preview, mut cursor) = (Preview::default(), None);
    for _ in 0..MAX_LOOKS {
        let look = tools.store.look_for_bulk(&bulk, cursor, MAX_PREVIEW, tools.sources.clock.now()).await?;
        preview.add(look.found);
        cursor = look.cursor;
        if cursor.is_none() || preview.matched() >= MAX_PREVIEW.into() {
            break;
        }
    }
    preview.capped = cursor.is_some();
    Ok(Some(preview))
}

/// Whose notifications `filter` means, `Some(None)` being the operator's or everyone's; `None`: its subscription is
/// not there, or not the caller's.
async fn owner(
    tools: &Tools,
    caller: &Caller,
    filter: &BulkFilter,
) -> Result<Option<Option<String>>, BulkError> {
    let Some(id) = filter.subscription else {
        let required = || Invalid::field("subscription_id", "is required with a merchant's key");
        return if caller.merchant().is_none() { Ok(Some(None)) } else { Err(required().into()) };
    };
    let subscription = tools.store.subscription(id, caller.merchant()).await?;
    Ok(subscription.map(|subscription| subscription.merchant))
}

fn new_bulk(
    tools: &Tools,
    caller: &Caller,
    action: BulkAction,
    merchant: Option<String>,
    filter: BulkFilter,
    reason: Option<String>,
) -> Bulk {
    Bulk {
        id: tools.sources.ids.next(),
        action,
        merchant,
        filter,
        actor: caller.to_string(),
        reason,
        matched: 0,
        changed: 0,
        created_at: tools.sources.clock.now(),
        finished_at: None,
    }
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
