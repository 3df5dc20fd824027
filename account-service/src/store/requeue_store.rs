//! Where it is kept who had which dead letter put back.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::StoredTime;
use crate::domain::Requeue;

/// How many requeues of one letter or event are shown at most.
pub(super) const MOST_RELATED: i64 = 20;

/// Where requeues are kept.
#[async_trait]
pub trait RequeueStore: Send + Sync + 'static {
    /// Keeps that a requeue was asked for, before it is done.
    async fn ask_requeue(&self, requeue: &Requeue) -> StoreResult<()>;

    /// Keeps that it was done.
    async fn confirm_requeue(&self, id: Uuid, at: DateTime<Utc>) -> StoreResult<()>;

    /// Requeues, newest first; the page's cursor is a requeue's id.
    async fn requeues(&self, page: Page) -> StoreResult<Vec<Requeue>>;

    /// The last requeues of this dead letter and, under other ids, of this event, newest first.
    async fn requeues_about(&self, letter: Uuid, event_id: Option<&str>) -> StoreResult<Vec<Requeue>>;
}

/// A requeue; `T` is how the backend keeps a time.
#[derive(FromRow)]
pub(super) struct RequeueRow<T> {
    id: Uuid,
    dead_letter_id: Uuid,
    event_id: Option<String>,
    event_type: Option<String>,
    subject: Option<String>,
    given_up_for: Option<String>,
    attempts: i64,
    asked_by: String,
    reason: Option<String>,
    asked_at: T,
    requeued_at: Option<T>,
}

impl<T: StoredTime> RequeueRow<T> {
    /// The requeue it holds.
    pub(super) fn read(self) -> StoreResult<Requeue> {
        Ok(Requeue {
            id: self.id,
            dead_letter_id: self.dead_letter_id,
            event_id: self.event_id,
            event_type: self.event_type,
            subject: self.subject,
            given_up_for: self.given_up_for,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            asked_by: self.asked_by,
            reason: self.reason,
            asked_at: self.asked_at.read()?,
            requeued_at: self.requeued_at.map(StoredTime::read).transpose()?,
        })
    }
}
