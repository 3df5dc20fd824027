//! What the outside sees of replays and cancellations.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::notification::StateName;
use crate::domain::{Bulk, BulkFilter, FailureClass};

/// A replay and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replay)]
pub struct ReplayDocument {
    #[serde(flatten)]
    bulk: BulkDocument,
    /// Those of them resent; the others had an attempt under way.
    resent: u64,
}

impl From<&Bulk> for ReplayDocument {
    fn from(bulk: &Bulk) -> Self {
        Self { bulk: bulk.into(), resent: bulk.changed }
    }
}

/// A cancellation and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cancellation)]
pub struct CancellationDocument {
    #[serde(flatten)]
    bulk: BulkDocument,
    /// Those of them cancelled.
    cancelled: u64,
}

impl From<&Bulk> for CancellationDocument {
    fn from(bulk: &Bulk) -> Self {
        Self { bulk: bulk.into(), cancelled: bulk.changed }
    }
}

/// What the two have in common.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkDocument {
    /// Its id.
    id: Uuid,
    /// `running` or `done`.
    #[schema(example = "running")]
    state: &'static str,
    /// Of which subscription.
    subscription_id: Uuid,
    /// Which of its notifications.
    filter: BulkFilterDocument,
    /// Notifications found so far.
    matched: u64,
    /// Who asked for it: `operator` or `merchant:<name>`.
    created_by: String,
    /// Why, as they said.
    reason: Option<String>,
    /// When it was asked for.
    created_at: DateTime<Utc>,
    /// When it was through.
    finished_at: Option<DateTime<Utc>>,
}

impl From<&Bulk> for BulkDocument {
    fn from(bulk: &Bulk) -> Self {
        Self {
            id: bulk.id,
            state: if bulk.finished_at.is_some() { "done" } else { "running" },
            subscription_id: bulk.filter.subscription.0,
            filter: (&bulk.filter).into(),
            matched: bulk.matched,
            created_by: bulk.actor.clone(),
            reason: bulk.reason.clone(),
            created_at: bulk.created_at,
            finished_at: bulk.finished_at,
        }
    }
}

/// Which notifications are meant; what was not given is `null`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkFilterDocument {
    /// The states, all that can be meant if none was given.
    #[schema(example = json!(["exhausted"]))]
    state: Vec<&'static str>,
    event_type: Option<String>,
    failure_class: Option<Vec<&'static str>>,
    created_from: Option<DateTime<Utc>>,
    created_to: Option<DateTime<Utc>>,
}

impl From<&BulkFilter> for BulkFilterDocument {
    fn from(filter: &BulkFilter) -> Self {
        let classes: Vec<_> = filter.failure_classes.iter().copied().map(FailureClass::as_str).collect();
        Self {
            state: filter.states.iter().map(StateName::as_str).collect(),
            event_type: filter.event_type.as_ref().map(|pattern| pattern.as_str().to_owned()),
            failure_class: (!classes.is_empty()).then_some(classes),
            created_from: filter.created_from,
            created_to: filter.created_to,
        }
    }
}
