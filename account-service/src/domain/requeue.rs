//! Requeues: dead letters that a person had put back into the queue.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Who asked for a dead letter to be put back, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// Names it; of the time it was asked for.
    pub id: Uuid,
    /// Which dead letter.
    pub dead_letter_id: Uuid,
    /// Its event's id; `None` of a message that is no event.
    pub event_id: Option<String>,
    /// Its event's type.
    pub event_type: Option<String>,
    /// What its event is about.
    pub subject: Option<String>,
    /// Why it had been given up.
    pub given_up_for: Option<String>,
    /// After how many attempts.
    pub attempts: u32,
    /// Who asked.
    pub asked_by: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// When it was back in the queue; `None` when that is not known to have happened.
    pub requeued_at: Option<DateTime<Utc>>,
}
