//! What the outside sees of replays and cancellations.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::described::{BulkWord, Failure, NotificationWord, Pattern, Why};
use crate::domain::notification::StateName;
use crate::domain::{Bulk, BulkFilter, FailureClass, Preview, Previewed, SubscriptionId};

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

/// How many subscriptions a preview shows at most.
const MAX_SHOWN: usize = 200;

/// What a replay would send, had it run now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplayPreview)]
pub struct ReplayPreviewDocument {
    /// Always `true`: nothing was started.
    dry_run: bool,
    /// Of which subscription; `null`: of every one.
    subscription_id: Option<Uuid>,
    /// Which of its notifications.
    filter: BulkFilterDocument,
    /// How many would be resent. Attempts under way are not counted.
    #[schema(example = 3)]
    matched: u64,
    /// Whether there may be more: counting stopped.
    capped: bool,
    /// The subscriptions that they are for, those with the most first; up to 200.
    subscriptions: Vec<PreviewedDocument>,
}

/// The part of one subscription in a preview.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReplayPreviewOfSubscription)]
pub struct PreviewedDocument {
    /// The subscription.
    subscription_id: Uuid,
    /// Its name, unique per merchant.
    #[schema(example = "orders")]
    name: String,
    /// Whose it is; `null`: the operator's.
    merchant: Option<String>,
    /// `active`; `paused` or `disabled`: what is resent would be held.
    #[schema(example = "active")]
    state: &'static str,
    /// How many would be resent.
    #[schema(example = 3)]
    matched: u64,
}

impl ReplayPreviewDocument {
    /// What a replay of `filter` would send.
    pub fn new(filter: &BulkFilter, preview: &Preview) -> Self {
        let mut subscriptions: Vec<_> = preview.subscriptions.iter().map(PreviewedDocument::from).collect();
        subscriptions.sort_by_key(|one| (Reverse(one.matched), one.subscription_id));
        subscriptions.truncate(MAX_SHOWN);
        Self {
            dry_run: true,
            subscription_id: filter.subscription.map(|id| id.0),
            filter: filter.into(),
            matched: preview.matched(),
            capped: preview.capped,
            subscriptions,
        }
    }
}

impl From<(&SubscriptionId, &Previewed)> for PreviewedDocument {
    fn from((id, previewed): (&SubscriptionId, &Previewed)) -> Self {
        let Previewed { name, merchant, state, matched } = previewed.clone();
        Self { subscription_id: id.0, name, merchant, state: state.as_str(), matched }
    }
}

/// What the two have in common.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bulk)]
pub struct BulkDocument {
    /// Its id.
    id: Uuid,
    /// `running` or `done`.
    #[schema(value_type = BulkWord)]
    state: &'static str,
    /// Of which subscription; `null`: of every one.
    subscription_id: Option<Uuid>,
    /// Which of its notifications.
    filter: BulkFilterDocument,
    /// Notifications found so far.
    matched: u64,
    /// Who asked for it: `operator` or `merchant:<name>`.
    created_by: String,
    /// Why, as they said.
    #[schema(value_type = Option<Why>)]
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
            subscription_id: bulk.filter.subscription.map(|id| id.0),
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
#[schema(as = BulkFilter)]
pub struct BulkFilterDocument {
    /// The states, all that can be meant if none was given.
    #[schema(value_type = Vec<NotificationWord>)]
    state: Vec<&'static str>,
    #[schema(value_type = Option<Pattern>)]
    event_type: Option<String>,
    #[schema(value_type = Option<Vec<Failure>>)]
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
