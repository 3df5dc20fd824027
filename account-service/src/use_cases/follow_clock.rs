//! Follows the clock: notes its time while it is trusted, and brings back what was written with one
//! that was ahead.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::SharedClock;
use runtime::background::{Progress, RoundError, Worker};
use runtime::clock::StepWatch;
use runtime::database::bounded;

use crate::store::{Furthest, Store};

/// How often the time is noted.
const NOTE: TimeDelta = TimeDelta::minutes(1);

/// The worker that does it.
pub struct FollowClock {
    store: Arc<dyn Store>,
    clock: SharedClock,
    furthest: Furthest,
    watch: StepWatch,
    /// When the time is noted next, by the steady clock.
    note_at: DateTime<Utc>,
}

impl FollowClock {
    /// Times in `store` are at most `furthest` ahead of the clock.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, furthest: Furthest) -> Self {
        let watch = StepWatch::new(clock.clone());
        Self { store, clock, furthest, watch, note_at: DateTime::UNIX_EPOCH }
    }

    /// While a jump of this machine's clock is refused, the database server's is asked about it.
    async fn confirm_jump(&self) -> Result<(), RoundError> {
        if self.clock.timeline().refuses_a_jump()
            && let Some(time) = bounded(self.store.server_time()).await?
        {
            self.clock.confirm(time);
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for FollowClock {
    fn name(&self) -> &'static str {
        "books.follow_clock"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        self.confirm_jump().await?;
        if let Some(steps) = self.watch.due() {
            let clamped = bounded(self.store.clamp_times(self.clock.now(), &self.furthest)).await?;
            if clamped > 0 {
                tracing::warn!(rows = clamped, "books.times_clamped");
            }
            self.watch.checked(steps);
        }
        let steady = self.clock.steady();
        if steady >= self.note_at && self.clock.is_trusted() {
            bounded(self.store.note_time(self.clock.now())).await?;
            self.note_at = steady + NOTE;
        }
        Ok(Progress::Idle)
    }
}
