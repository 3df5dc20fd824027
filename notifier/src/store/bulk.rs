//! Bulk actions as they lie in their table, and what a step of one does, the same in both databases.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use uuid::Uuid;

use super::log::{Source, sources};
use super::rows::{StoredTime, optional, readable};
use crate::domain::bulk::{Bulk, BulkAction, BulkFilter};
use crate::domain::notification::StateName;
use crate::domain::{FailureClass, LimitReached, Previewed, States, SubscriptionId, SubscriptionState};

/// What one step of the bulk actions did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkStep {
    /// Notifications resent or cancelled.
    pub changed: usize,
    /// Whether another step may be made at once.
    pub more: bool,
}

/// Which bulk actions a list shows.
#[derive(Debug, Clone)]
pub struct BulksFilter {
    /// Those that do this.
    pub action: BulkAction,
    /// Only those of this merchant's subscriptions.
    pub owner: Option<String>,
    /// Only those of this subscription.
    pub subscription: Option<SubscriptionId>,
}

/// Bulk resends and cancellations.
#[async_trait]
pub trait BulkStore: Send + Sync + 'static {
    /// Keeps a new one, which then runs, unless `limit` of its merchant run: that many are never passed,
    /// whatever is created at the same time.
    async fn create_bulk(&self, bulk: &Bulk, limit: u32) -> StoreResult<Result<(), LimitReached>>;

    /// One of this kind, and how far it is.
    async fn bulk(&self, action: BulkAction, id: Uuid, owner: Option<&str>) -> StoreResult<Option<Bulk>>;

    /// A page of them, newest first.
    async fn bulks(&self, filter: &BulksFilter, page: Page) -> StoreResult<Vec<Bulk>>;

    /// Does what is asked to the next `limit` notifications of a running one, oldest first, each with an
    /// audit whose id comes from `next_id`; finishes it when there is none left. Merchants take
    /// turns, and those that run for one merchant take the turns of that merchant by turns, so that none waits for
    /// another's end and no merchant for how many another one has. A step looks at a bounded number of notifications.
    async fn advance_bulk(
        &self,
        limit: u32,
        next_id: &(dyn Fn() -> Uuid + Send + Sync),
        now: DateTime<Utc>,
    ) -> StoreResult<BulkStep>;

    /// Looks at the next notifications after `cursor` that `bulk` would come to, and changes nothing: the matching
    /// ones, up to `limit`. A bounded number is looked at.
    async fn look_for_bulk(
        &self,
        bulk: &Bulk,
        cursor: Option<Uuid>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> StoreResult<BulkLook>;
}

/// What a look has found.
#[derive(Debug)]
pub struct BulkLook {
    /// How many match, by subscription.
    pub found: Vec<(SubscriptionId, Previewed)>,
    /// Where the next look begins; `None`: there is none left.
    pub cursor: Option<Uuid>,
}

/// So many notifications of a subscription a step looks at, matching or not: it stays short whatever
/// is looked for.
pub(super) const LOOK: i64 = 2_000;

/// Where a bulk action finds notifications: each is a range of an index in which ids are in order.
pub(super) fn ranges(filter: &BulkFilter) -> Vec<Source> {
    let range = |source| match source {
        Source::Finished(states) if columns(filter, source) != ID => {
            states.iter().map(|state| Source::Finished(States::of(&[state]))).collect()
        }
        whole => vec![whole],
    };
    sources(filter.states).into_iter().flat_map(range).collect()
}

/// The columns of the primary key.
pub(super) const ID: &str = "n.id";

/// The columns of the index that the ranges of `source` are of. Of all subscriptions together what is delivered has
/// none of its own: it is most of the log.
pub(super) fn columns(filter: &BulkFilter, source: Source) -> &'static str {
    match (source, filter.subscription) {
        (Source::Finished(_), Some(_)) => "n.subscription_id, n.state, n.id",
        (_, Some(_)) => "n.subscription_id, n.id",
        (Source::Finished(_), None) if !filter.states.contains(StateName::Delivered) => "n.state, n.id",
        (_, None) => ID,
    }
}

/// The subscriptions of some notifications, and how many each has of them.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct LookRow {
    id: Uuid,
    name: String,
    merchant: Option<String>,
    state: String,
    disabled_reason: Option<String>,
    matched: i64,
}

impl LookRow {
    pub(super) fn previewed(self) -> StoreResult<(SubscriptionId, Previewed)> {
        let state = SubscriptionState::parse(&self.state, self.disabled_reason);
        let state = readable(state, "subscription", self.id)?;
        let matched = self.matched.unsigned_abs();
        Ok((SubscriptionId(self.id), Previewed { name: self.name, merchant: self.merchant, state, matched }))
    }
}

/// What a step has come to.
#[derive(Debug)]
pub(super) struct Found {
    /// The notifications that match, oldest first.
    pub(super) ids: Vec<Uuid>,
    /// The last one that was looked at; `None`: there is none left.
    pub(super) cursor: Option<Uuid>,
}

/// What a step has done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) matched: i64,
    pub(super) changed: i64,
    pub(super) cursor: Option<Uuid>,
    pub(super) through: bool,
    /// Whether to go on at once.
    pub(super) more: bool,
}

impl Done {
    /// What was `found` and `changed`. A replay passes over what somebody else is at, which is under way
    /// or being resent. A cancellation goes back to it: it may be waiting again in a moment.
    pub(super) fn of(action: BulkAction, found: &Found, changed: &[Uuid]) -> Self {
        let missed = found.ids.iter().find(|id| !changed.contains(id));
        match (action, missed) {
            (BulkAction::Cancellation, Some(missed)) => Self {
                matched: count(changed.len()),
                changed: count(changed.len()),
                cursor: missed.as_u128().checked_sub(1).map(Uuid::from_u128),
                through: false,
                more: !changed.is_empty(),
            },
            _ => Self {
                matched: count(found.ids.len()),
                changed: count(changed.len()),
                cursor: found.cursor,
                through: found.cursor.is_none(),
                more: true,
            },
        }
    }
}

/// A batch's size as the databases count.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The classes as they are stored.
pub(super) fn classes_text(filter: &BulkFilter) -> Option<String> {
    let names: Vec<&str> = filter.failure_classes.iter().copied().map(FailureClass::as_str).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// The columns of a [`BulkRow`].
macro_rules! bulk_columns {
    () => {
        "id, action, subscription_id, merchant, states, event_type, failure_classes, created_from, created_to, \
         actor, reason, matched, changed, cursor_id, created_at, finished_at"
    };
}
pub(super) use bulk_columns;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct BulkRow<Time> {
    id: Uuid,
    action: String,
    subscription_id: Option<Uuid>,
    merchant: Option<String>,
    states: String,
    event_type: Option<String>,
    failure_classes: Option<String>,
    created_from: Option<Time>,
    created_to: Option<Time>,
    actor: String,
    reason: Option<String>,
    matched: i64,
    changed: i64,
    pub(super) cursor_id: Option<Uuid>,
    created_at: Time,
    finished_at: Option<Time>,
}

impl<Time: StoredTime> BulkRow<Time> {
    pub(super) fn bulk(self) -> StoreResult<Bulk> {
        let id = self.id;
        readable(self.read(), "bulk action", id)
    }

    fn read(self) -> Option<Bulk> {
        let event_type = match self.event_type {
            None => None,
            Some(text) => Some(text.parse().ok()?),
        };
        let classes = self.failure_classes.as_deref().map_or(Some(Vec::new()), |text| {
            text.split(',').map(FailureClass::parse).collect::<Option<Vec<_>>>()
        })?;
        let filter = BulkFilter {
            subscription: self.subscription_id.map(SubscriptionId),
            states: States::parse(self.states.split(',')).ok()?,
            event_type,
            failure_classes: classes,
            created_from: optional(self.created_from).ok()?,
            created_to: optional(self.created_to).ok()?,
        };
        Some(Bulk {
            id: self.id,
            action: BulkAction::parse(&self.action)?,
            merchant: self.merchant,
            filter,
            actor: self.actor,
            reason: self.reason,
            matched: self.matched.try_into().ok()?,
            changed: self.changed.try_into().ok()?,
            created_at: self.created_at.time()?,
            finished_at: optional(self.finished_at).ok()?,
        })
    }
}
