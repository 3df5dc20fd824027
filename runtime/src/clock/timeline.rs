//! The wall clock beside the monotonic clock: what to make of its steps.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a jump ahead must last before it is trusted, unless that is set.
pub const TRUST_AFTER: Duration = Duration::from_hours(1);
/// From here on a change of the wall clock is a step; below, it is followed.
const STEP: i64 = 1_000_000;
/// A change that is not worth writing down.
const DRIFT: i64 = 1_000;
/// Longer than any lease, in microseconds.
const LEASES: i64 = 60_000_000;
/// How far another machine's clock may be from a jump that it confirms, in microseconds.
const CONFIRMS: i64 = 30_000_000;

/// Follows the wall clock through its steps. Times are microseconds; an offset is what the wall clock
/// is ahead of the monotonic one.
#[derive(Debug)]
pub struct Timeline {
    trust_after: i64,
    /// The offset at the start.
    origin: i64,
    /// The offset that is trusted.
    offset: AtomicI64,
    /// Nothing but the offset matters: no jump waits to be trusted, no lease is from before a jump.
    plain: AtomicBool,
    steps: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A jump ahead that is not trusted yet: the lowest offset that was measured since it came.
    jump: Option<Since>,
    /// The offset before a jump ahead that is followed because another machine's clock agrees, but has
    /// not lasted long enough for what can't be undone.
    confirmed: Option<Since>,
    /// The offset before a step back that is not old yet: going back to it is no jump.
    before: Option<Since>,
    /// The lowest offset that leases may have been granted at which have not ended yet.
    leases: Option<Since>,
    /// Later times at the start were doubted.
    expected: Option<i64>,
}

/// An offset, and when it was come upon by the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Since {
    offset: i64,
    at: i64,
}

/// A wall clock that is ahead of what is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distrust {
    /// By how much.
    pub ahead: TimeDelta,
    /// How long it must last yet before it is trusted.
    pub trusted_in: Duration,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn seconds(micros: i64) -> i64 {
    micros / 1_000_000
}

impl Timeline {
    /// Starts with these readings of both clocks.
    pub fn starting(wall: DateTime<Utc>, elapsed: Duration, trust_after: Duration) -> Self {
        let offset = wall.timestamp_micros() - micros(elapsed);
        Self {
            trust_after: micros(trust_after),
            origin: offset,
            offset: AtomicI64::new(offset),
            plain: AtomicBool::new(true),
            steps: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// How often the time that is trusted has stepped, back or ahead.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Acquire)
    }

    pub(super) fn steady(&self, elapsed: Duration) -> DateTime<Utc> {
        time(self.origin.saturating_add(micros(elapsed)))
    }

    pub(super) fn now(&self, wall: DateTime<Utc>, elapsed: Duration) -> DateTime<Utc> {
        if self.follows(wall, elapsed) {
            return wall;
        }
        let elapsed = micros(elapsed);
        drop(self.observe(wall, elapsed));
        time(elapsed + self.offset())
    }

    pub(super) fn lease_time(&self, wall: DateTime<Utc>, elapsed: Duration) -> DateTime<Utc> {
        if self.follows(wall, elapsed) {
            return wall;
        }
        let elapsed = micros(elapsed);
        let state = self.observe(wall, elapsed);
        let offset = self.offset();
        time(elapsed + state.leases.map_or(offset, |leases| leases.offset.min(offset)))
    }

    pub(super) fn expect_since(
        &self,
        seen: DateTime<Utc>,
        within: TimeDelta,
        wall: DateTime<Utc>,
        elapsed: Duration,
    ) {
        let elapsed = micros(elapsed);
        let mut state = self.observe(wall, elapsed);
        let was_doubted = self.doubt(&state, elapsed).is_some();
        let limit = seen.checked_add_signed(within).unwrap_or(DateTime::<Utc>::MAX_UTC).timestamp_micros();
        state.expected = state.expected.max(Some(limit));
        if let Some(doubt) = self.doubt(&state, elapsed).filter(|_| !was_doubted) {
            tracing::warn!(
                clock.ahead_seconds = doubt.ahead.num_seconds(),
                clock.trusted_in_seconds = doubt.trusted_in.as_secs(),
                "clock.start_doubted"
            );
        }
    }

    pub(super) fn is_trusted(&self, wall: DateTime<Utc>, elapsed: Duration) -> bool {
        let elapsed = micros(elapsed);
        let state = self.observe(wall, elapsed);
        state.confirmed.is_none() && self.doubt(&state, elapsed).is_none()
    }

    /// Whether a jump ahead is refused at present.
    pub fn refuses_a_jump(&self) -> bool {
        !self.plain.load(Ordering::Acquire) && self.lock().jump.is_some()
    }

    pub(super) fn confirm(&self, other: DateTime<Utc>, wall: DateTime<Utc>, elapsed: Duration) {
        let elapsed = micros(elapsed);
        let mut state = self.observe(wall, elapsed);
        let (trusted, measured) = (self.offset(), wall.timestamp_micros() - elapsed);
        let other = other.timestamp_micros() - elapsed;
        let agrees = (other - measured).abs() < CONFIRMS.min((other - trusted).abs());
        if let Some(jump) = state.jump.filter(|_| agrees) {
            self.trust(&mut state, measured, elapsed);
            state.confirmed = Some(Since { offset: trusted, at: jump.at });
        }
    }

    pub(super) fn distrust(&self, wall: DateTime<Utc>, elapsed: Duration) -> Option<Distrust> {
        let elapsed = micros(elapsed);
        let state = self.observe(wall, elapsed);
        let jump = state.jump.map(|jump| Distrust {
            ahead: TimeDelta::microseconds(jump.offset - self.offset()),
            trusted_in: self.left(elapsed - jump.at),
        });
        let confirmed = state.confirmed.map(|before| Distrust {
            ahead: TimeDelta::microseconds(self.offset() - before.offset),
            trusted_in: self.left(elapsed - before.at),
        });
        jump.or(confirmed).or_else(|| self.doubt(&state, elapsed))
    }

    /// Whether the clock that started this late is doubted still.
    fn doubt(&self, state: &State, elapsed: i64) -> Option<Distrust> {
        let ahead = self.offset() - state.expected?;
        (ahead > 0 && elapsed < self.trust_after)
            .then(|| Distrust { ahead: TimeDelta::microseconds(ahead), trusted_in: self.left(elapsed) })
    }

    fn left(&self, lasted: i64) -> Duration {
        Duration::from_micros(u64::try_from(self.trust_after - lasted).unwrap_or_default())
    }

    fn offset(&self) -> i64 {
        self.offset.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the wall clock is where it is expected: the case of every day, which takes no lock.
    fn follows(&self, wall: DateTime<Utc>, elapsed: Duration) -> bool {
        let (measured, trusted) = (wall.timestamp_micros() - micros(elapsed), self.offset());
        let change = (measured - trusted).abs();
        if !self.plain.load(Ordering::Acquire) || change >= STEP {
            return false;
        }
        if change >= DRIFT {
            // Who loses against a step that another thread sees has followed its own reading.
            let _ = self.offset.compare_exchange(trusted, measured, Ordering::AcqRel, Ordering::Acquire);
        }
        true
    }

    fn observe(&self, wall: DateTime<Utc>, elapsed: i64) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let measured = wall.timestamp_micros() - elapsed;
        match measured - self.offset() {
            change if change <= -STEP => self.step_back(&mut state, measured, elapsed),
            change if change < STEP => {
                self.offset.store(measured, Ordering::Release);
                if state.jump.take().is_some() {
                    tracing::info!("clock.jump_ended");
                }
            }
            _ => self.jump_ahead(&mut state, measured, elapsed),
        }
        state.leases = state.leases.filter(|leases| elapsed - leases.at < LEASES);
        state.confirmed = state.confirmed.filter(|before| elapsed - before.at < self.trust_after);
        self.plain.store(state.jump.is_none() && state.leases.is_none(), Ordering::Release);
        state
    }

    fn step_back(&self, state: &mut State, measured: i64, elapsed: i64) {
        let trusted = self.offset();
        if state.before.as_ref().is_none_or(|before| elapsed - before.at >= self.trust_after) {
            let undoubted = state.confirmed.is_none() && self.doubt(state, elapsed).is_none();
            state.before = undoubted.then_some(Since { offset: trusted, at: elapsed });
        }
        state.jump = None;
        state.confirmed = state.confirmed.filter(|before| measured - before.offset >= STEP);
        self.offset.store(measured, Ordering::Release);
        self.steps.fetch_add(1, Ordering::AcqRel);
        tracing::warn!(clock.step_seconds = seconds(measured - trusted), "clock.stepped_back");
    }

    fn jump_ahead(&self, state: &mut State, measured: i64, elapsed: i64) {
        let is_same = |known: &Since| (measured - known.offset).abs() < STEP;
        let known = state.before.filter(|before| elapsed - before.at < self.trust_after);
        if known.as_ref().is_some_and(is_same) {
            return self.trust(state, measured, elapsed);
        }
        // One that grows, as on a machine that is suspended again and again, is trusted as far as it
        // has lasted.
        let lasted = state.jump.map(|jump| Since { offset: jump.offset.min(measured), at: jump.at });
        match lasted {
            Some(jump) if elapsed - jump.at >= self.trust_after => {
                self.trust(state, jump.offset, elapsed);
                if measured - jump.offset >= STEP {
                    self.refuse(state, measured, elapsed);
                }
            }
            Some(jump) => state.jump = Some(jump),
            None => self.refuse(state, measured, elapsed),
        }
    }

    fn refuse(&self, state: &mut State, measured: i64, elapsed: i64) {
        state.jump = Some(Since { offset: measured, at: elapsed });
        tracing::warn!(
            clock.ahead_seconds = seconds(measured - self.offset()),
            clock.trusted_in_seconds = seconds(self.trust_after),
            "clock.jump_refused"
        );
    }

    fn trust(&self, state: &mut State, measured: i64, elapsed: i64) {
        let trusted = self.offset();
        let oldest = state.leases.map_or(trusted, |leases| leases.offset.min(trusted));
        *state = State {
            leases: Some(Since { offset: oldest, at: elapsed }),
            expected: state.expected,
            ..State::default()
        };
        self.offset.store(measured, Ordering::Release);
        self.steps.fetch_add(1, Ordering::AcqRel);
        tracing::warn!(clock.step_seconds = seconds(measured - trusted), "clock.jump_trusted");
    }
}
