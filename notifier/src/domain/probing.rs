//! One attempt at a time, over all processes, until the endpoint may be sent to again (a half-open
//! circuit breaker).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::WaitsFor;
use super::attempt::AttemptResult;
use super::receiver_pause::PauseAsked;

/// When the next attempt may begin, and the one under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// No probe begins before this time.
    pub not_before: DateTime<Utc>,
    /// The one that has begun.
    pub probe: Option<Probe>,
    /// Why attempts are made one at a time.
    pub cause: Cause,
}

/// Why attempts are made one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Attempts in a row did not reach the endpoint.
    Unreached,
    /// The receiver asked for a pause.
    ReceiverPause {
        /// How many times in a row, where each answer but the first is a probe's.
        answers: u32,
    },
}

/// A probe: an ordinary attempt, under the lease of its notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its lease's token.
    pub token: Uuid,
    /// From this time on it is lost if it has no result.
    pub until: DateTime<Utc>,
}

impl Probing {
    /// The earliest time at which the next probe can begin; earlier if one under way ends.
    pub fn next_at(&self) -> DateTime<Utc> {
        self.probe.map_or(self.not_before, |probe| probe.until.max(self.not_before))
    }

    /// Whether the receiver asked for it.
    pub fn is_pause(&self) -> bool {
        matches!(self.cause, Cause::ReceiverPause { .. })
    }

    /// What a notification that is held back by it waits for.
    pub fn waits_for(&self) -> WaitsFor {
        if self.is_pause() { WaitsFor::Receiver } else { WaitsFor::Probe }
    }

    /// Whether `result` is that of the probe under way.
    pub(super) fn is_of(&self, result: &AttemptResult) -> bool {
        self.probe.is_some_and(|probe| probe.token == result.lease.token())
    }

    /// The endpoint is lost with `result`.
    pub(super) fn unreached(result: &AttemptResult) -> Self {
        Self { not_before: result.probe_at, probe: None, cause: Cause::Unreached }
    }

    /// After `result` did not reach the endpoint either, which is now `lost` or not yet.
    pub(super) fn after_missing(self, result: &AttemptResult, lost: bool) -> Self {
        match (self.cause, self.probe) {
            // One that had begun before.
            (_, Some(_)) if !self.is_of(result) => self,
            (Cause::ReceiverPause { answers }, probe) if !lost => match probe {
                Some(_) => Self::pause(answers.saturating_add(1), PauseAsked { retry_after: None }, result),
                None => self,
            },
            (_, Some(_)) => Self::unreached(result),
            (_, None) => {
                let not_before = self.not_before.max(result.probe_at);
                Self { not_before, ..Self::unreached(result) }
            }
        }
    }

    /// After the receiver `asked` for a pause with `result`. A probe's answer begins the next pause;
    /// that of an attempt which had begun earlier can only make the one under way longer.
    pub(super) fn after_asking(before: Option<Self>, asked: PauseAsked, result: &AttemptResult) -> Self {
        let Some(before) = before.filter(|before| !before.is_of(result)) else {
            let answers = before.map_or(0, |before| before.answers());
            return Self::pause(answers.saturating_add(1), asked, result);
        };
        let pause = Self::pause(before.answers().max(1), asked, result);
        let earliest = if before.is_pause() { before.not_before } else { pause.not_before };
        Self { not_before: pause.not_before.max(earliest), probe: before.probe, ..pause }
    }

    fn pause(answers: u32, asked: PauseAsked, result: &AttemptResult) -> Self {
        let not_before = result.attempt.ended_at() + asked.length(answers);
        Self { not_before, probe: None, cause: Cause::ReceiverPause { answers } }
    }

    fn answers(&self) -> u32 {
        match self.cause {
            Cause::Unreached => 0,
            Cause::ReceiverPause { answers } => answers,
        }
    }
}
