//! Stored times that are further ahead than they can be: they were written with a clock that was
//! ahead, and what waits for them would wait until the clock is there.

use std::time::Duration;

use async_trait::async_trait;
use runtime::background::{Progress, RoundError, Worker};
use runtime::clock::StepWatch;
use runtime::database::bounded;
use uuid::Uuid;

use super::Tools;

/// How often it is asked whether the clock has stepped.
pub const POLL: Duration = Duration::from_millis(500);
/// How many rows one round looks at.
const STEP: u32 = 2_000;

/// The worker that brings them back, at the start and after each step of the clock.
pub struct ClampTimes {
    tools: Tools,
    watch: StepWatch,
    /// The steps that are being followed, and the last row that was looked at.
    under_way: Option<(u64, Uuid)>,
}

impl ClampTimes {
    /// Nothing was looked at yet.
    pub fn new(tools: Tools) -> Self {
        let watch = StepWatch::new(tools.sources.clock.clone());
        Self { tools, watch, under_way: None }
    }

    /// While a jump of this machine's clock is refused, the database server's is asked about it.
    async fn confirm_jump(&self) -> Result<(), RoundError> {
        let clock = &self.tools.sources.clock;
        if clock.timeline().refuses_a_jump()
            && let Some(time) = bounded(self.tools.store.server_time()).await?
        {
            clock.confirm(time);
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for ClampTimes {
    fn name(&self) -> &'static str {
        "notifier.clamp_times"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        self.confirm_jump().await?;
        // A step while an earlier one is followed begins again from the first row.
        let due = self.watch.due();
        let Some(steps) = due else { return Ok(Progress::Idle) };
        let after = self.under_way.filter(|(seen, _)| *seen == steps).map_or(Uuid::nil(), |(_, id)| id);
        let now = self.tools.sources.clock.now();
        let clamped = bounded(self.tools.store.clamp_times(after, now, STEP)).await?;
        if clamped.rows > 0 {
            tracing::warn!(rows = clamped.rows, "notifications.times_clamped");
            self.tools.schedule.look_now();
        }
        self.under_way = clamped.last.map(|last| (steps, last));
        if self.under_way.is_none() {
            self.watch.checked(steps);
        }
        Ok(Progress::More)
    }
}
