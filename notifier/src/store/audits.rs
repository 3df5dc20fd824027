//! What was done to subscriptions.

use async_trait::async_trait;
use runtime::database::StoreResult;
use runtime::http::Page;
use uuid::Uuid;

use super::rows::{StoredTime, readable};
use crate::domain::SubscriptionId;
use crate::domain::subscription_audit::{SubscriptionAction, SubscriptionAudit};

/// The audit trails of subscriptions. Each act is written by the method that carries it out, in the
/// same transaction.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// A page of what was done to a subscription, newest first, also after it was deleted. `None`: it
    /// never was there.
    async fn subscription_audits(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        page: Page,
    ) -> StoreResult<Option<Vec<SubscriptionAudit>>>;
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct SubscriptionAuditRow<Time> {
    id: Uuid,
    action: String,
    changed: String,
    actor: String,
    reason: Option<String>,
    at: Time,
}

impl<Time: StoredTime> SubscriptionAuditRow<Time> {
    pub(super) fn audit(self) -> StoreResult<SubscriptionAudit> {
        let read = SubscriptionAction::parse(&self.action).zip(self.at.time());
        let (action, at) = readable(read, "audit of a subscription", self.id)?;
        let changed = self.changed.split_terminator(',').map(str::to_owned).collect();
        Ok(SubscriptionAudit { id: self.id, action, changed, actor: self.actor, reason: self.reason, at })
    }
}
