//! What follows from the steps of a clock.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::SharedClock;
use crate::duration::HumanDuration;
use crate::http::{Check, NotReady};

/// How often stored times are looked at without a step of this process's clock: for those that
/// another process has written with another clock.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// When they are looked at again after a step: for those that were written while it happened.
const AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Says when stored times must be looked at that may be further ahead than they can be: at the start,
/// after a step of the clock, a minute after either, and every hour.
pub struct StepWatch {
    clock: SharedClock,
    /// The steps when they were looked at last, and the steady time when they are again.
    checked: Option<(u64, DateTime<Utc>)>,
}

impl StepWatch {
    /// Nothing was looked at yet.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, checked: None }
    }

    /// Whether it is time; what to hand to [`StepWatch::checked`] when it was done. Not while a jump ahead
    /// is refused: if it is right, the times of other processes only look as if they were ahead.
    pub fn due(&self) -> Option<u64> {
        self.clock.now();
        if self.clock.timeline().refuses_a_jump() {
            return None;
        }
        let steps = self.clock.timeline().steps();
        let is_done = |(seen, next): (u64, DateTime<Utc>)| seen == steps && self.clock.steady() < next;
        (!self.checked.is_some_and(is_done)).then_some(steps)
    }

    /// Stored times were looked at after so many `steps`.
    pub fn checked(&mut self, steps: u64) {
        let is_new = self.checked.is_none_or(|(seen, _)| seen != steps);
        self.checked = Some((steps, self.clock.steady() + if is_new { AGAIN } else { EVERY }));
    }
}

/// Whether the clock is trusted, for `/readyz`.
pub struct ClockCheck(pub SharedClock);

#[async_trait]
impl Check for ClockCheck {
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(distrust) = self.0.distrust() else { return Ok(()) };
        let whole = |time: Duration| HumanDuration(Duration::from_secs(time.as_secs()));
        let ahead = whole(distrust.ahead.to_std().unwrap_or_default());
        let trusted_in = whole(distrust.trusted_in);
        Err(NotReady(format!("is {ahead} ahead of the time that is trusted; trusted in {trusted_in}")).into())
    }
}
