//! What the notifier's operators and their programs ask for, one file each.

pub mod bulk;
pub mod clamp_times;
pub mod hold_keys;
pub mod operators;
pub mod reseal_secrets;
pub mod subscribe;
pub mod test_subscription;
mod tests_under_way;
pub mod upkeep;

use std::sync::Arc;

use runtime::Sources;
use runtime::keys::Caller;
use runtime::validation::{Invalid, text};
use tokio::sync::Notify;

use crate::domain::audit::Action;
use crate::domain::{
    Audit, MerchantLimits, Notification, NotificationState, SubscriptionAction, SubscriptionAudit,
};
use crate::engine::{Bounds, Schedule};
use crate::store::Store;
use crate::webhook::SendWebhook;

/// The longest reason a person may give, in characters.
pub const MAX_REASON: usize = 500;

/// What the use cases work with.
#[derive(Clone)]
pub struct Tools {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Time, randomness, ids.
    pub sources: Sources,
    /// Told when something became due.
    pub schedule: Schedule,
    /// Rung when a replay or a cancellation was asked for.
    pub bulks: Arc<Notify>,
    /// Rung when a subscription was deleted.
    pub upkeep: Arc<Notify>,
    /// Sends webhooks.
    pub sender: Arc<dyn SendWebhook>,
    /// What one merchant may have or run at once.
    pub limits: MerchantLimits,
    /// What attempts wait for in this process.
    pub bounds: Bounds,
}

impl Tools {
    /// `notification`, where nothing but the bounds of this process can hold it back, with which one does.
    pub fn within_bounds(&self, notification: Notification) -> Notification {
        let NotificationState::Pending { .. } = notification.state else { return notification };
        let bounds = || self.bounds.holding_back(notification.subscription, self.sources.clock.steady());
        Notification { waits_for: notification.waits_for.or_else(bounds), ..notification }
    }

    /// The record of what `caller` does now.
    pub fn audit(&self, action: Action, caller: &Caller, reason: Option<String>) -> Result<Audit, Invalid> {
        check_reason(reason.as_deref())?;
        Ok(Audit {
            id: self.sources.ids.next(),
            action,
            actor: caller.to_string(),
            reason,
            at: self.sources.clock.now(),
        })
    }

    /// The record of what `caller` does to a subscription now.
    pub fn subscription_audit(
        &self,
        action: SubscriptionAction,
        caller: &Caller,
        reason: Option<String>,
    ) -> Result<SubscriptionAudit, Invalid> {
        check_reason(reason.as_deref())?;
        let (id, now) = (self.sources.ids.next(), self.sources.clock.now());
        Ok(SubscriptionAudit { reason, ..SubscriptionAudit::new(id, action, caller.to_string(), now) })
    }
}

/// Refuses a reason that is empty, too long, or holds control characters.
pub fn check_reason(reason: Option<&str>) -> Result<(), Invalid> {
    reason.map_or(Ok(()), |reason| text("reason", reason, MAX_REASON))
}
