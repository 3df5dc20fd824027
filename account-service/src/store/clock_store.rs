//! What is kept of the clock, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::database::StoreResult;

/// How far ahead of now stored times can be.
#[derive(Debug, Clone)]
pub struct Furthest {
    /// When a request is asked about next, by how many steps of the ladder are spent; the last step
    /// counts for all beyond it.
    pub steps: Vec<TimeDelta>,
    /// When a question is put again that was not answered.
    pub pause: TimeDelta,
    /// When a lease ends.
    pub lease: TimeDelta,
}

impl Furthest {
    /// Each step with the number of steps spent, and whether it counts for all beyond as well.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (i64, bool, TimeDelta)> {
        let last = self.steps.len().saturating_sub(1);
        let number = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
        self.steps.iter().enumerate().map(move |(index, step)| (number(index), index == last, *step))
    }
}

/// The clock as far as it is kept.
#[async_trait]
pub trait ClockStore: Send + Sync + 'static {
    /// The last time that was noted, if one was.
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>>;

    /// The time of the database server, where it has a clock of its own.
    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>>;

    /// Notes that a process with a trusted clock is at work at `now`.
    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()>;

    /// Brings the times of requests and reconciliations that are further ahead of `now` than they can be
    /// back to the furthest that they can be: they were written with a clock that was ahead. How many.
    async fn clamp_times(&self, now: DateTime<Utc>, furthest: &Furthest) -> StoreResult<u64>;
}
