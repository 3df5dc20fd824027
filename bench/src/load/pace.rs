//! When the calls of an open loop are due.

use std::time::Duration;

use crate::clock::{self, Micros};

/// Before the first call, so that every connection is there.
const HEAD_START: Micros = 50_000;

/// An even rate from a moment on.
pub struct Pace {
    start: Micros,
    rate: u32,
}

impl Pace {
    /// `rate` a second, from almost now.
    pub fn starting_soon(rate: u32) -> Self {
        Self { start: clock::now() + HEAD_START, rate: rate.max(1) }
    }

    /// When number `index` is due.
    pub fn due(&self, index: usize) -> Micros {
        self.start + i64::try_from(index).unwrap_or(0) * 1_000_000 / i64::from(self.rate)
    }

    /// Holds the thread until number `index` is due. A thread of its own, since the timers of the
    /// async runtime have a resolution of a millisecond, as much as what is measured.
    pub fn wait_for(&self, index: usize) -> Micros {
        let due = self.due(index);
        while let Ok(early @ 1..) = u64::try_from(due - clock::now()) {
            std::thread::sleep(Duration::from_micros(early));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_200_is_one_every_5_ms() {
        let pace = Pace { start: 1_000, rate: 200 };
        assert_eq!((pace.due(0), pace.due(1), pace.due(200)), (1_000, 6_000, 1_001_000));
    }
}
