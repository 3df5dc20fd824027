//! A merchant's own events in the order in which they were kept.

use std::collections::HashMap;

use async_trait::async_trait;
use runtime::database::StoreResult;
use uuid::Uuid;

use super::rows::{EventRow, StoredTime, readable};
use crate::domain::feed::{FeedEvent, FeedPage, FeedPosition, FeedQuery};

/// The feed.
#[async_trait]
pub trait FeedStore: Send + Sync + 'static {
    /// A page of the feed. Complete: no event is ever kept before the place where the next page begins. A bounded
    /// number of events is looked at, so a page may hold fewer than asked for though there are more.
    async fn feed(&self, query: &FeedQuery) -> StoreResult<FeedPage>;
}

/// An event of the feed as it lies in its table.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct FeedRow<Time> {
    #[sqlx(flatten)]
    event: EventRow<Time>,
    feed_position: i64,
    received_at: Time,
}

impl<Time: StoredTime> FeedRow<Time> {
    pub(super) fn position(&self) -> FeedPosition {
        FeedPosition { batch: self.feed_position, key: self.event.key() }
    }
}

/// To how many subscriptions of the merchant an event went, and how many acknowledged it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct DeliveredRow {
    key: Uuid,
    subscriptions: i64,
    acknowledged: i64,
}

/// The events of `rows`, each with what became of it.
pub(super) fn events<Time: StoredTime>(
    rows: Vec<FeedRow<Time>>,
    delivered: Vec<DeliveredRow>,
) -> StoreResult<Vec<FeedEvent>> {
    let delivered: HashMap<Uuid, DeliveredRow> = delivered.into_iter().map(|row| (row.key, row)).collect();
    let event = |row: FeedRow<Time>| {
        let position = row.position();
        let event = row.event.event()?;
        let count = |of: fn(&DeliveredRow) -> i64| delivered.get(&event.key.0).map_or(0, of).unsigned_abs();
        Ok(FeedEvent {
            position,
            received_at: readable(row.received_at.time(), "event", event.key)?,
            subscriptions: count(|row| row.subscriptions),
            acknowledged: count(|row| row.acknowledged),
            event,
        })
    };
    rows.into_iter().map(event).collect()
}

/// The keys of these events.
pub(super) fn keys<Time: StoredTime>(rows: &[FeedRow<Time>]) -> Vec<Uuid> {
    rows.iter().map(|row| row.event.key()).collect()
}
