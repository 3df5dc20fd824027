//! Randomness as a parameter (law 11), and the ids made from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::clock::{SharedClock, SystemClock, TRUST_AFTER};

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// A number from 0 to 1, drawn by lot: spreads out in time what would else happen at once.
    fn lot(&self) -> f64 {
        let mut lot = [0_u8; 4];
        self.fill(&mut lot);
        f64::from(u32::from_le_bytes(lot)) / f64::from(u32::MAX)
    }
}

/// The operating system's cryptographically secure generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads global randomness")]
    fn fill(&self, buffer: &mut [u8]) {
        aws_lc_rs::rand::fill(buffer).expect("the operating system provides randomness");
    }
}

/// How far ids may run ahead of the wall clock to stay in order, in milliseconds. Beyond it the clock
/// was set back, and ids follow it: an id says when something was made.
const MAX_LEAD: u64 = 2_000;

/// Makes `UUIDv7` ids that increase within this process, also inside one millisecond
/// (RFC 9562, section 6.2, method 1: a 12-bit counter in `rand_a`), unless the wall clock is set back by
/// more than two seconds.
pub struct Ids {
    clock: SharedClock,
    entropy: Arc<dyn Entropy>,
    /// Milliseconds since the epoch in the high 52 bits, the counter in the low 12.
    last: AtomicU64,
}

impl Ids {
    /// Ids stamped by `clock`, their random part from `entropy`.
    pub fn new(clock: SharedClock, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, last: AtomicU64::new(0) }
    }

    /// The next id.
    pub fn next(&self) -> Uuid {
        let millis = u64::try_from(self.clock.wall().timestamp_millis()).unwrap_or(0);
        let (floor, ceiling) = (millis << 12, (millis + MAX_LEAD) << 12);
        let advance = |last: u64| if last < ceiling { floor.max(last + 1) } else { floor };
        let previous =
            match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| Some(advance(l))) {
                Ok(previous) | Err(previous) => previous,
            };
        let stamp = advance(previous);
        let mut random = [0_u8; 10];
        self.entropy.fill(&mut random);
        random[..2].copy_from_slice(&u16::try_from(stamp & 0xFFF).unwrap_or(0).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(stamp >> 12, &random).into_uuid()
    }
}

/// Everything a process draws from the outside world besides its inputs: time, randomness, ids.
#[derive(Clone)]
pub struct Sources {
    /// The time.
    pub clock: SharedClock,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Fresh ids.
    pub ids: Arc<Ids>,
}

impl Sources {
    /// The given clock and entropy, with ids made from both.
    pub fn new(clock: SharedClock, entropy: Arc<dyn Entropy>) -> Self {
        let ids = Arc::new(Ids::new(clock.clone(), entropy.clone()));
        Self { clock, entropy, ids }
    }

    /// The machine's clocks and the operating system's generator; for `main` only.
    pub fn system() -> Self {
        Self::trusting_after(TRUST_AFTER)
    }

    /// The same, with a clock whose jumps ahead are trusted after they have lasted for `time`.
    pub fn trusting_after(time: Duration) -> Self {
        Self::new(Arc::new(SystemClock::new(time)), Arc::new(SystemEntropy))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::clock::Clock;
    use crate::testing::{ManualClock, SeededEntropy};

    #[test]
    fn ids_of_one_millisecond_keep_their_order() {
        let ids = Ids::new(Arc::new(ManualClock::default()), Arc::new(SeededEntropy::new(1)));
        let made: Vec<Uuid> = (0..10_000).map(|_| ids.next()).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn ids_keep_their_order_over_a_small_step_back_and_follow_a_large_one() {
        let clock = ManualClock::default();
        let ids = Ids::new(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)));
        let first = ids.next();
        clock.step(TimeDelta::seconds(-1));
        assert!(ids.next() > first);
        clock.step(TimeDelta::hours(-1));
        let (made, now) = (ids.next(), clock.wall());
        let (seconds, _) = made.get_timestamp().expect("a UUIDv7").to_unix();
        assert_eq!(i64::try_from(seconds), Ok(now.timestamp()));
        assert!(ids.next() > made);
    }
}
