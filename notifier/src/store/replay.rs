//! What a replay's step writes, the same in both databases.

use uuid::Uuid;

use crate::domain::Replay;

/// A notification that a replay has come to.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Found<Time> {
    pub(super) id: Uuid,
    pub(super) created_at: Time,
}

/// The reason in each notification's audit: which replay, and why.
pub(super) fn reason(replay: &Replay) -> String {
    match &replay.reason {
        Some(reason) => format!("replay {}: {reason}", replay.id),
        None => format!("replay {}", replay.id),
    }
}

/// A batch's size as the databases count.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
