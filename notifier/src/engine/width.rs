//! How wide a subscription's lane is: how many of its attempts may be under way at once, learned
//! from how its answers come. Slow start, additive increase, multiplicative decrease, and a limit
//! that follows what is used, as TCP does it (RFC 5681, sections 3.1 and 4.1).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What a lane begins with, and what one that is little used falls back to.
pub const FIRST: u32 = 8;
/// How long a width that is not used is kept.
const KEPT: TimeDelta = TimeDelta::seconds(10);

/// One lane's width. Between 1 and the subscription's `max_in_flight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    limit: u32,
    /// Below it every answer widens; from it on it takes as many answers as the lane is wide.
    threshold: u32,
    /// Answers towards the next widening.
    credit: u32,
    /// Whether more would have gone out had it been wider.
    wanted: bool,
    /// Whether the last attempt to end was too much for the receiver.
    overloaded: bool,
    /// The most attempts under way since `since`.
    peak: u32,
    since: Option<DateTime<Utc>>,
}

impl Default for Width {
    fn default() -> Self {
        Self {
            limit: FIRST,
            threshold: u32::MAX,
            credit: 0,
            wanted: false,
            overloaded: false,
            peak: 0,
            since: None,
        }
    }
}

impl Width {
    /// How many may be under way of a subscription that allows `max_in_flight`.
    pub fn limit(&self, max_in_flight: u32) -> u32 {
        self.limit.min(max_in_flight).max(1)
    }

    /// So many are under way at `now`; `wanted` says whether there would have been more in a wider
    /// lane. What has long not been needed is given up: a lane that was wide once must not have
    /// that much room to fill on the day it hangs.
    pub fn used(&mut self, under_way: u32, wanted: bool, now: DateTime<Utc>) {
        self.wanted = wanted;
        self.peak = self.peak.max(under_way);
        let since = *self.since.get_or_insert(now);
        if (now - since).abs() >= KEPT {
            self.limit = self.limit.min(self.peak.saturating_mul(2).max(FIRST));
            (self.peak, self.since) = (under_way, Some(now));
        }
    }

    /// An attempt ended after `took` without using up its `timeout`. Only what took less than half
    /// of it says that the receiver can take more.
    pub fn answered(&mut self, took: Duration, timeout: Duration, max_in_flight: u32) {
        self.overloaded = false;
        if !self.wanted || took * 2 > timeout || self.limit >= max_in_flight {
            return;
        }
        self.credit += 1;
        if self.limit < self.threshold || self.credit >= self.limit {
            self.limit += 1;
            self.credit = 0;
        }
    }

    /// An attempt used up its whole timeout, or the receiver answered 429 or 503: half as many from now
    /// on, down to one. When the lane answers otherwise it is wide again soon, up to half of what it was
    /// when that began.
    pub fn overloaded(&mut self) {
        if !self.overloaded {
            self.threshold = (self.limit / 2).max(1);
        }
        self.limit = (self.limit / 2).max(1);
        (self.overloaded, self.credit) = (true, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const PROMPT: Duration = Duration::from_millis(5);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + seconds, 0).expect("a time")
    }

    /// A lane after `answers` prompt answers, all of it used and more wanted.
    fn answered(mut width: Width, answers: u32) -> Width {
        for _ in 0..answers {
            width.used(width.limit(1000), true, at(0));
            width.answered(PROMPT, TIMEOUT, 1000);
        }
        width
    }

    fn hung(mut width: Width, timeouts: u32) -> Width {
        (0..timeouts).for_each(|_| width.overloaded());
        width
    }

    #[test]
    fn a_lane_that_answers_and_is_in_demand_gets_as_wide_as_its_subscription_allows() {
        let mut width = answered(Width::default(), 24);
        assert_eq!((width.limit(1000), width.limit(20)), (32, 20));
        for _ in 0..100 {
            width.answered(PROMPT, TIMEOUT, 40);
        }
        assert_eq!(width.limit(1000), 40);
    }

    #[test]
    fn a_lane_that_nobody_wants_wider_stays_as_it_is() {
        let mut width = Width::default();
        for _ in 0..100 {
            width.used(1, false, at(0));
            width.answered(PROMPT, TIMEOUT, 1000);
        }
        assert_eq!(width.limit(1000), FIRST);
    }

    #[test]
    fn a_lane_whose_attempts_time_out_gets_down_to_one_and_never_below() {
        let width = hung(answered(Width::default(), 1000), 10);
        assert_eq!(width.limit(1000), 1);
        assert_eq!(hung(width, 100).limit(1000), 1);
    }

    #[test]
    fn a_lane_that_answers_again_is_soon_half_as_wide_as_before_and_then_widens_slowly() {
        let back = hung(answered(Width::default(), 56), 64);
        assert_eq!(answered(back, 31).limit(1000), 32);
        assert_eq!(answered(back, 31 + 32).limit(1000), 33);
        assert_eq!(answered(back, 31 + 32 + 32).limit(1000), 33);
    }

    #[test]
    fn answers_that_take_most_of_the_timeout_widen_nothing() {
        let mut width = Width::default();
        width.used(FIRST, true, at(0));
        (0..100).for_each(|_| width.answered(Duration::from_secs(6), TIMEOUT, 1000));
        assert_eq!(width.limit(1000), FIRST);
    }

    #[test]
    fn a_width_that_is_not_used_any_more_is_given_up() {
        let mut width = answered(Width::default(), 92);
        assert_eq!(width.limit(1000), 100);
        width.used(20, false, at(11));
        assert_eq!(width.limit(1000), 100, "it was used in the seconds before");
        width.used(1, false, at(22));
        assert_eq!(width.limit(1000), 40);
        width.used(1, false, at(33));
        assert_eq!(width.limit(1000), FIRST);
    }

    proptest! {
        #[test]
        fn whatever_happens_it_stays_between_one_and_what_the_subscription_allows(
            steps in prop::collection::vec((0_u8..4, any::<bool>(), 0_i64..30, 0_u64..12), 0..300),
            max_in_flight in 1_u32..100,
        ) {
            let (mut width, mut now) = (Width::default(), 0);
            for (step, wanted, seconds, took) in steps {
                now += seconds;
                match step {
                    0 => width.overloaded(),
                    1 => width.used(width.limit(max_in_flight), wanted, at(now)),
                    _ => width.answered(Duration::from_secs(took), TIMEOUT, max_in_flight),
                }
                prop_assert!((1..=max_in_flight).contains(&width.limit(max_in_flight)));
            }
        }
    }
}
