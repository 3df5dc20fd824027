//! What is kept of the clock, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

/// The furthest that an attempt can be due ahead of now: the longest step of a ladder, and the longest
/// that a receiver can ask for.
pub(super) const FURTHEST_DUE: TimeDelta = TimeDelta::hours(24);
/// The furthest that a lease can end ahead of now: the longest request timeout and its margin.
pub(super) const FURTHEST_LEASE: TimeDelta = TimeDelta::seconds(45);
/// The furthest that a probe can be ahead of now.
pub(super) const FURTHEST_PROBE: TimeDelta = TimeDelta::minutes(1);
/// The furthest that the next measurement of what waits can be ahead of now: nineteen times as long as one
/// may take.
pub(super) const FURTHEST_MEASUREMENT: TimeDelta = TimeDelta::minutes(90);
/// How far two processes' clocks may differ without anything being clamped for it: clamping what another
/// process has written would end its leases early.
pub(super) const SLACK: TimeDelta = TimeDelta::seconds(30);

/// What clamping a page of rows came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamped {
    /// How many were ahead of what they can be.
    pub rows: u64,
    /// The last row of the page; `None` when there was none left.
    pub last: Option<Uuid>,
}

/// The clock as far as it is kept.
#[async_trait]
pub trait ClockStore: Send + Sync + 'static {
    /// The last time that was noted; `None` when none was and no event is older.
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>>;

    /// The time of the database server, where it has a clock of its own.
    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>>;

    /// Notes that a process with a trusted clock is at work at `now`. The time that is noted goes back only
    /// when it is so far ahead of `now` that one of the two clocks is wrong.
    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()>;

    /// Looks at up to `limit` waiting notifications after the id `after`, and with the first of them at
    /// the health of endpoints, at the next measurement of what waits, and at changes of subscriptions: times that are further ahead of `now` than they can be are brought back
    /// to the furthest that they can be.
    async fn clamp_times(&self, after: Uuid, now: DateTime<Utc>, limit: u32) -> StoreResult<Clamped>;
}
