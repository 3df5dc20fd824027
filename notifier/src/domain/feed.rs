//! A merchant's own events, in the order in which they were kept: how a subscriber finds what it missed.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{EventPattern, NewEvent};

/// How many events a page looks at where types are chosen, and how many where all are.
const LOOK_FOR_TYPES: u16 = 3_000;
const LOOK: u16 = 1_000;

/// A place in the feed. Events are ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPosition {
    /// Grows with each transaction that keeps events.
    pub batch: i64,
    /// The event's key, among those of its transaction.
    pub key: Uuid,
}

impl FeedPosition {
    /// Before every event.
    pub const START: Self = Self { batch: -1, key: Uuid::nil() };

    /// After all that was kept before `batch`.
    pub fn before_batch(batch: i64) -> Self {
        Self { batch: batch.saturating_sub(1), key: Uuid::max() }
    }
}

/// What a page of the feed shows.
#[derive(Debug, Clone)]
pub struct FeedQuery {
    /// Whose events.
    pub merchant: String,
    /// Those of any of these types; `*` if empty.
    pub types: Vec<EventPattern>,
    /// Those after this place.
    pub after: FeedPosition,
    /// How many at most.
    pub limit: u16,
}

impl FeedQuery {
    /// How many events are looked at, whatever their types.
    pub fn look(&self) -> i64 {
        let look = if self.types.is_empty() { LOOK } else { LOOK_FOR_TYPES };
        look.max(self.limit.saturating_add(1)).into()
    }

    /// How many rows to fetch: one more than the page holds tells whether there are more.
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

/// An event of the feed.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    /// The event.
    pub event: NewEvent,
    /// Where it is.
    pub position: FeedPosition,
    /// When it was kept.
    pub received_at: DateTime<Utc>,
    /// To how many of the merchant's subscriptions it went.
    pub subscriptions: u64,
    /// How many of these acknowledged it.
    pub acknowledged: u64,
}

impl FeedEvent {
    /// Whether it went to a subscription of the merchant at all, and every one that it went to acknowledged it.
    pub fn is_delivered(&self) -> bool {
        self.subscriptions > 0 && self.subscriptions == self.acknowledged
    }
}

/// A page of the feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// The events, oldest first.
    pub events: Vec<FeedEvent>,
    /// Where the next page begins: nothing will ever be kept before it.
    pub next: FeedPosition,
    /// Whether there may be more by now.
    pub has_more: bool,
    /// Whether the place that was asked for lies after all that is or is being kept: the database was set back to what
    /// it was before that place was answered.
    pub is_set_back: bool,
}

impl FeedPage {
    /// The page of `events`, fetched with [`FeedQuery::fetch`] from up to `end`: where the look ended, or else the
    /// `horizon`.
    pub fn of(
        mut events: Vec<FeedEvent>,
        query: &FeedQuery,
        end: Option<FeedPosition>,
        horizon: FeedPosition,
    ) -> Self {
        let is_full = events.len() > usize::from(query.limit);
        events.truncate(query.limit.into());
        let last = events.last().filter(|_| is_full).map(|event| event.position);
        let next = last.or(end).unwrap_or(horizon);
        Self { has_more: is_full || end.is_some(), is_set_back: query.after > horizon, next, events }
    }
}
