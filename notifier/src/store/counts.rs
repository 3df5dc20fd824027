//! How many notifications each subscription has in each state.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use uuid::Uuid;

use super::rows::{StoredTime, count, readable};
use crate::domain::undelivered::MAX_SUMMED;
use crate::domain::{Count, Counts, SubscriptionCounts, SubscriptionId, SubscriptionState, Undelivered};

/// Whose notifications are counted.
#[derive(Debug, Clone, Default)]
pub struct CountsFilter {
    /// Only those of this merchant's subscriptions.
    pub owner: Option<String>,
    /// Only those of this subscription.
    pub subscription: Option<SubscriptionId>,
}

/// Counts of notifications.
#[async_trait]
pub trait CountStore: Send + Sync + 'static {
    /// A page of subscriptions, newest first, each with how many notifications it has in each state
    /// at `now`. Each state is counted up to `cap`, so that the cost is bounded whatever the log
    /// holds. What is under way is looked for among the `cap` first attempts and the `cap` retries
    /// that have been due the longest, since those are what claims take.
    async fn counts(
        &self,
        filter: &CountsFilter,
        page: Page,
        cap: u32,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<SubscriptionCounts>>;

    /// What of a subscription is not delivered; at most [`MAX_SUMMED`] that wait and as many that are exhausted are
    /// looked at, the oldest by the time of their events.
    async fn undelivered(&self, id: SubscriptionId) -> StoreResult<Undelivered>;
}

/// A notification that is not delivered.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct UndeliveredRow<Time> {
    event_key: Uuid,
    created_at: Time,
}

/// What these rows of one table say; the keys of the events whose amounts are to be added. There is one row more than
/// are added up where there are more.
pub(super) fn note<Time: StoredTime + Copy>(
    undelivered: &mut Undelivered,
    rows: &[UndeliveredRow<Time>],
) -> StoreResult<Vec<Uuid>> {
    for row in rows {
        undelivered.note(readable(row.created_at.time(), "notification about event", row.event_key)?);
    }
    let summed = MAX_SUMMED as usize;
    undelivered.capped |= rows.len() > summed;
    Ok(rows.iter().take(summed).map(|row| row.event_key).collect())
}

/// How many of each are looked for: one more than `cap` tells that there are more.
pub(super) fn look(cap: u32) -> i64 {
    i64::from(cap) + 1
}

/// A subscription and what was found of it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct CountsRow {
    id: Uuid,
    merchant: Option<String>,
    name: String,
    state: String,
    disabled_reason: Option<String>,
    /// What waits with no attempt under way.
    idle: i64,
    /// What was looked through for attempts under way.
    due: i64,
    delivering: i64,
    exhausted: i64,
    cancelled: i64,
    delivered: i64,
}

impl CountsRow {
    pub(super) fn counts(self, cap: u32) -> StoreResult<SubscriptionCounts> {
        let id = self.id;
        readable(self.read(cap), "counts of subscription", id)
    }

    fn read(self, cap: u32) -> Option<SubscriptionCounts> {
        let found = |number: i64| Some(Count::of(count(number)?, cap));
        let state = SubscriptionState::parse(&self.state, self.disabled_reason)?;
        let idle = found(self.idle)?;
        let active = state == SubscriptionState::Active;
        let counts = Counts {
            pending: if active { idle } else { Count::NONE },
            delivering: Count { capped: found(self.due)?.capped, ..found(self.delivering)? },
            held: if active { Count::NONE } else { idle },
            exhausted: found(self.exhausted)?,
            cancelled: found(self.cancelled)?,
            delivered: found(self.delivered)?,
        };
        Some(SubscriptionCounts {
            id: SubscriptionId(self.id),
            name: self.name,
            merchant: self.merchant,
            state,
            counts,
        })
    }
}
