//! Time as a parameter (law 11): nothing below `main` reads a clock by itself.
//!
//! A machine's wall clock steps: a time server corrects it, is wrong itself, or has not answered yet
//! when the process starts. [`Timeline`] compares it with the monotonic clock and keeps four readings
//! apart; everything that measures or stores time takes the one that fits:
//!
//! | reading | for |
//! | --- | --- |
//! | [`Clock::now`] | what is due, leased, or too old, and most times that are stored. It follows a step back at once and a jump ahead only after that has lasted (`CLOCK_TRUST_AFTER`) |
//! | [`Clock::steady`] | durations inside this process: it never steps, and is never stored or shown |
//! | [`Clock::lease_time`] | whether a lease has ended: it never runs past a lease that this process holds |
//! | [`Clock::wall`] | what others compare with their own clocks: signatures, ids, when a payment was taken |

mod gauge;
#[cfg(test)]
mod tests;
mod timeline;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rustix::time::{ClockId, Timespec, clock_gettime};

pub use gauge::register_clock_metrics;
pub use timeline::{Distrust, TRUST_AFTER, Timeline};
pub use watch::{ClockCheck, StepWatch};

/// How long reading both clocks may take; a process that was stopped in between reads them again.
const READING: Duration = Duration::from_millis(50);

/// Tells the time. Production has one implementation; tests set theirs.
pub trait Clock: Send + Sync + 'static {
    /// The machine's wall clock as it stands, to the microsecond, so that a stored time equals the
    /// time that was read.
    fn wall(&self) -> DateTime<Utc>;

    /// The monotonic clock: how long ago this clock was made.
    fn elapsed(&self) -> Duration;

    /// What was seen of both so far.
    fn timeline(&self) -> &Timeline;

    /// The present, by which work is scheduled and kept: the wall clock without jumps ahead that are
    /// not trusted yet.
    fn now(&self) -> DateTime<Utc> {
        let (wall, elapsed) = read(self);
        self.timeline().now(wall, elapsed)
    }

    /// A time that never steps, for durations inside this process. Never stored, never shown, and
    /// never compared with another reading.
    fn steady(&self) -> DateTime<Utc> {
        self.timeline().steady(self.elapsed())
    }

    /// Leases that ended by this time may be taken over. It is [`Clock::now`], except that for a
    /// minute after that moved ahead it stays behind, until every lease granted before has ended.
    fn lease_time(&self) -> DateTime<Utc> {
        let (wall, elapsed) = read(self);
        self.timeline().lease_time(wall, elapsed)
    }

    /// The same moment as `time`, a reading of [`Clock::now`], on the scale of [`Clock::steady`].
    fn steady_at(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let (now, steady) = (self.now(), self.steady());
        steady.checked_add_signed(time - now).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Says that a time up to `within` after `seen`, the last time that is stored, needs no further
    /// evidence. A process that starts with a later one is not trusted until it has run for long
    /// enough; see [`Clock::is_trusted`].
    fn expect_since(&self, seen: DateTime<Utc>, within: TimeDelta) {
        let (wall, elapsed) = read(self);
        self.timeline().expect_since(seen, within, wall, elapsed);
    }

    /// Says what another machine's clock reads now. A jump ahead that it agrees with is followed at
    /// once by [`Clock::now`], so that processes that share leases agree on the time; what can't be undone
    /// still waits until the jump has lasted, since both machines may have one time server.
    fn confirm(&self, other: DateTime<Utc>) {
        let (wall, elapsed) = read(self);
        self.timeline().confirm(other, wall, elapsed);
    }

    /// Whether what can't be undone may rest on [`Clock::now`].
    fn is_trusted(&self) -> bool {
        let (wall, elapsed) = read(self);
        self.timeline().is_trusted(wall, elapsed)
    }

    /// Why the wall clock is not trusted at present, if it is not.
    fn distrust(&self) -> Option<Distrust> {
        let (wall, elapsed) = read(self);
        self.timeline().distrust(wall, elapsed)
    }
}

/// Both clocks at one moment.
fn read(clock: &(impl Clock + ?Sized)) -> (DateTime<Utc>, Duration) {
    let mut before = clock.elapsed();
    for _ in 0..3 {
        let wall = clock.wall();
        let after = clock.elapsed();
        if after.saturating_sub(before) < READING {
            return (wall, after);
        }
        before = after;
    }
    (clock.wall(), clock.elapsed())
}

/// A clock as it is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    /// The monotonic clock when this one was made.
    started: Duration,
    timeline: Timeline,
}

impl SystemClock {
    /// The machine's clocks; jumps ahead are trusted after they have lasted for `trust_after`.
    pub fn new(trust_after: Duration) -> Self {
        let timeline = Timeline::starting(wall_clock(), Duration::ZERO, trust_after);
        Self { started: monotonic_clock(), timeline }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new(TRUST_AFTER)
    }
}

/// The monotonic clock; on Linux the one that goes on while the machine is suspended, so that waking up is
/// no jump of the wall clock.
fn monotonic_clock() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    let nanos = u32::try_from(tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), nanos)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

impl Clock for SystemClock {
    fn wall(&self) -> DateTime<Utc> {
        wall_clock()
    }

    fn elapsed(&self) -> Duration {
        monotonic_clock().saturating_sub(self.started)
    }

    fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}
