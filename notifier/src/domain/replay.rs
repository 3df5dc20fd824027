//! Resending many notifications of one subscription, in the background and in batches.

use chrono::{DateTime, Utc};
use runtime::validation::Invalid;
use uuid::Uuid;

use super::SubscriptionId;
use super::notification::StateName;

/// Which notifications a replay resends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayFilter {
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// Only those in this state; `None`: all.
    pub state: Option<StateName>,
    /// Only those that came in at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those that came in before this time.
    pub created_to: Option<DateTime<Utc>>,
}

impl ReplayFilter {
    /// Refuses a filter that nothing can match.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.state == Some(StateName::Delivering) {
            return Err(Invalid::field("state", "an attempt under way can't be resent"));
        }
        match (self.created_from, self.created_to) {
            (Some(from), Some(to)) if from >= to => {
                Err(Invalid::field("created_to", "must be later than created_from"))
            }
            _ => Ok(()),
        }
    }
}

/// A replay and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: Uuid,
    /// The owner of its subscription, who may watch it.
    pub merchant: Option<String>,
    /// What it resends. Notifications that come in after `created_at` are left out.
    pub filter: ReplayFilter,
    /// Who asked for it.
    pub actor: String,
    /// Why, as they said.
    pub reason: Option<String>,
    /// Notifications found so far.
    pub matched: u64,
    /// Those of them resent; the others had an attempt under way.
    pub resent: u64,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was through; `None` while it runs.
    pub finished_at: Option<DateTime<Utc>>,
}
