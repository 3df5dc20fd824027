//! A token bucket as a pure function of time (the generic cell rate algorithm). It says how many may
//! start, and takes back what did not start: a claim does not know beforehand how much is due.

use chrono::{DateTime, TimeDelta, Utc};

/// How much of a second's allowance may go at once, so that timers of a millisecond's precision
/// still reach a high rate. A rate up to 50 a second starts its attempts one at a time.
const BURST: TimeDelta = TimeDelta::milliseconds(20);

/// Allows so many starts a second, evenly spaced but for a burst of 20 ms' worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// When the next start would be due if they were spaced exactly.
    next: Option<DateTime<Utc>>,
}

/// The space between two starts at `rate` a second.
fn interval(rate: u32) -> TimeDelta {
    TimeDelta::microseconds(1_000_000 / i64::from(rate.max(1)))
}

impl Bucket {
    /// How many may start at `now`, `max` at the most.
    pub fn available(&self, rate: Option<u32>, now: DateTime<Utc>, max: u32) -> u32 {
        let Some(rate) = rate else { return max };
        let micros = |delta: TimeDelta| delta.num_microseconds().unwrap_or(i64::MAX);
        let space = interval(rate).max(TimeDelta::microseconds(1));
        let room = BURST.max(space) - (self.next_at(rate, now) - now);
        u32::try_from(micros(room) / micros(space)).map_or(0, |count| count.min(max))
    }

    /// Counts `count` starts at `now`.
    pub fn take(&mut self, rate: Option<u32>, now: DateTime<Utc>, count: u32) {
        if let Some(rate) = rate {
            self.next = Some(self.next_at(rate, now) + interval(rate) * to_i32(count));
        }
    }

    /// Takes back `count` starts that did not happen.
    pub fn give_back(&mut self, rate: Option<u32>, count: u32) {
        if let (Some(rate), Some(next)) = (rate, self.next.as_mut()) {
            *next -= interval(rate) * to_i32(count);
        }
    }

    /// When one more may start.
    pub fn ready_at(&self, rate: Option<u32>, now: DateTime<Utc>) -> DateTime<Utc> {
        let Some(rate) = rate else { return now };
        let spare = BURST.max(interval(rate)) - interval(rate);
        now.max(self.next_at(rate, now) - spare)
    }

    /// A clock that was set back must not stop a subscription: never further ahead than a full
    /// bucket reaches.
    fn next_at(&self, rate: u32, now: DateTime<Utc>) -> DateTime<Utc> {
        self.next.map_or(now, |next| next.clamp(now, now + interval(rate) + BURST))
    }
}

fn to_i32(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_767_225_600_000_000 + micros).expect("a time")
    }

    #[test]
    fn a_low_rate_starts_one_at_a_time() {
        let (rate, mut bucket) = (Some(5), Bucket::default());
        assert_eq!(bucket.available(rate, at(0), 10), 1);
        bucket.take(rate, at(0), 1);
        assert_eq!(bucket.available(rate, at(199_999), 10), 0);
        assert_eq!(bucket.ready_at(rate, at(0)), at(200_000));
        assert_eq!(bucket.available(rate, at(200_000), 10), 1);
    }

    #[test]
    fn what_was_not_used_can_be_given_back() {
        let (rate, mut bucket) = (Some(1000), Bucket::default());
        assert_eq!(bucket.available(rate, at(0), 100), 20);
        bucket.take(rate, at(0), 20);
        assert_eq!(bucket.available(rate, at(0), 100), 0);
        bucket.give_back(rate, 15);
        assert_eq!(bucket.available(rate, at(0), 100), 15);
    }

    #[test]
    fn without_a_rate_everything_may_start() {
        let mut bucket = Bucket::default();
        bucket.take(None, at(0), 1000);
        assert_eq!(bucket.available(None, at(0), 7), 7);
    }

    #[test]
    fn a_clock_set_back_by_an_hour_stops_nothing() {
        let (rate, mut bucket) = (Some(10), Bucket::default());
        bucket.take(rate, at(3_600_000_000), 1);
        assert!(bucket.ready_at(rate, at(0)) <= at(200_000));
    }

    proptest! {
        #[test]
        fn a_second_never_sees_more_than_the_rate_and_its_burst(
            rate in 1_u32..10_000, steps in prop::collection::vec(0_i64..50_000, 1..200),
        ) {
            let mut bucket = Bucket::default();
            let mut starts: Vec<(i64, usize)> = Vec::new();
            let mut now = 0;
            for step in steps {
                now += step;
                let count = bucket.available(Some(rate), at(now), 1000);
                bucket.take(Some(rate), at(now), count);
                starts.push((now, count as usize));
            }
            // The interval is cut to whole microseconds, which adds 1 % at the highest rate.
            let allowed = rate as usize + rate as usize / 33 + 2;
            for (index, (start, _)) in starts.iter().enumerate() {
                let within = starts[index..].iter().take_while(|(time, _)| *time < start + 1_000_000);
                let seen: usize = within.map(|(_, count)| count).sum();
                prop_assert!(seen <= allowed, "{} of {allowed}", seen);
            }
        }
    }
}
