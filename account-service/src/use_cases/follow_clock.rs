//! Follows the clock: notes its time while it is trusted, and brings back what was written with one
//! that was ahead.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};
use runtime::clock::StepWatch;
use runtime::database::{StoreResult, bounded};

use crate::store::{Clamped, Furthest, Place, Store};

/// How often the time is noted.
const NOTE: TimeDelta = TimeDelta::minutes(1);
/// How many requests one round looks at.
const STEP: u32 = 1_000;

/// The worker that does it.
pub struct FollowClock {
    store: Arc<dyn Store>,
    clock: SharedClock,
    furthest: Furthest,
    watch: StepWatch,
    /// The steps that are being followed, and the last request that was looked at.
    under_way: Option<(u64, Place)>,
    /// When the time is noted next, by the steady clock.
    note_at: DateTime<Utc>,
}

impl FollowClock {
    /// Times in `store` are at most `furthest` ahead of the clock.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, furthest: Furthest) -> Self {
        let watch = StepWatch::new(clock.clone());
        Self { store, clock, furthest, watch, under_way: None, note_at: DateTime::UNIX_EPOCH }
    }

    /// While a jump of this machine's clock is refused, the database server's is asked about it.
    async fn confirm_jump(&self) -> StoreResult<()> {
        if self.clock.timeline().refuses_a_jump()
            && let Some(time) = bounded(self.store.server_time()).await?
        {
            self.clock.confirm(time);
        }
        Ok(())
    }

    async fn note(&mut self) -> StoreResult<()> {
        let steady = self.clock.steady();
        if steady >= self.note_at && self.clock.is_trusted() {
            bounded(self.store.note_time(self.clock.now())).await?;
            self.note_at = steady + NOTE;
        }
        Ok(())
    }

    /// Looks at one page, at the start and after each step of the clock.
    async fn clamp(&mut self) -> StoreResult<Progress> {
        // A step while an earlier one is followed begins again from the first request.
        let Some(steps) = self.watch.due() else { return Ok(Progress::Idle) };
        let after = self.under_way.filter(|(seen, _)| *seen == steps).map_or(Place::FIRST, |(_, last)| last);
        let now = self.clock.now();
        let Clamped { rows, last } =
            bounded(self.store.clamp_times(after, now, &self.furthest, STEP)).await?;
        if rows > 0 {
            tracing::warn!(rows, "books.times_clamped");
        }
        self.under_way = last.map(|last| (steps, last));
        if last.is_none() {
            self.watch.checked(steps);
        }
        Ok(Progress::More)
    }
}

#[async_trait]
impl Worker for FollowClock {
    fn name(&self) -> &'static str {
        "books.follow_clock"
    }

    /// None of the three keeps the others from being done.
    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let confirmed = self.confirm_jump().await;
        let noted = self.note().await;
        let clamped = self.clamp().await;
        confirmed?;
        noted?;
        Ok(clamped?)
    }
}
