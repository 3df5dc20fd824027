//! What is made of a wall clock's steps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{Clock, StepWatch};
use crate::testing::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const ALMOST_AN_HOUR: Duration = Duration::from_secs(3_599);

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}

#[test]
fn a_clock_that_does_not_step_is_followed_by_every_reading() {
    let clock = ManualClock::default();
    clock.advance(HOUR * 500);
    let expected = at("2026-01-21T20:00:00Z");
    for reading in [clock.now(), clock.wall(), clock.steady(), clock.lease_time()] {
        assert_eq!(reading, expected);
    }
    assert_eq!((clock.distrust(), clock.timeline().steps()), (None, 0));
}

#[test]
fn a_step_back_is_followed_at_once_and_no_duration_notices_it() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::hours(-1));
    clock.advance(SECOND);
    assert_eq!(clock.now(), at("2025-12-31T23:00:01Z"));
    assert_eq!(clock.steady(), at("2026-01-01T00:00:01Z"));
    assert_eq!(clock.steady_at(clock.now() + TimeDelta::seconds(2)), at("2026-01-01T00:00:03Z"));
    assert_eq!((clock.distrust(), clock.timeline().steps()), (None, 1));
}

#[test]
fn a_jump_ahead_moves_nothing_until_it_has_lasted_an_hour() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::days(100));
    assert_eq!(clock.now(), at("2026-01-01T00:00:00Z"));
    let distrust = clock.distrust().expect("it is ahead");
    assert_eq!((distrust.ahead, distrust.trusted_in), (TimeDelta::days(100), HOUR));
    clock.advance(ALMOST_AN_HOUR);
    assert_eq!(clock.now(), at("2026-01-01T00:59:59Z"));
    clock.advance(SECOND);
    assert_eq!(clock.now(), at("2026-04-11T01:00:00Z"));
    assert_eq!(clock.distrust(), None);
}

#[test]
fn a_jump_that_ends_before_the_hour_leaves_no_trace_and_the_next_one_waits_a_whole_hour() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::days(1));
    clock.now();
    clock.advance(ALMOST_AN_HOUR);
    clock.step(TimeDelta::days(-1));
    assert_eq!((clock.now(), clock.timeline().steps()), (at("2026-01-01T00:59:59Z"), 0));
    clock.step(TimeDelta::days(2));
    clock.now();
    clock.advance(ALMOST_AN_HOUR);
    assert_eq!(clock.now(), at("2026-01-01T01:59:58Z"));
}

#[test]
fn a_jump_that_grows_is_trusted_as_far_as_it_has_lasted() {
    let clock = ManualClock::default();
    for _ in 0..4 {
        clock.step(TimeDelta::minutes(1));
        clock.now();
        clock.advance(HOUR / 2);
    }
    assert_eq!(clock.now(), at("2026-01-01T02:03:00Z"), "three minutes have lasted for an hour");
    clock.advance(HOUR);
    assert_eq!(clock.now(), at("2026-01-01T03:04:00Z"));
}

#[test]
fn a_jump_that_another_clock_confirms_is_followed_at_once_but_not_for_what_can_t_be_undone() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::minutes(5));
    clock.confirm(at("2026-01-01T00:00:00Z"));
    assert_eq!(clock.now(), at("2026-01-01T00:00:00Z"), "the other one did not jump");
    clock.confirm(at("2026-01-01T00:05:02Z"));
    assert_eq!(clock.now(), at("2026-01-01T00:05:00Z"));
    assert!(!clock.is_trusted());
    assert_eq!(clock.distrust().map(|distrust| distrust.ahead), Some(TimeDelta::minutes(5)));
    clock.advance(HOUR);
    assert!(clock.is_trusted() && clock.distrust().is_none());
}

#[test]
fn a_small_jump_is_not_confirmed_by_a_clock_that_is_closer_to_the_time_before_it() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::seconds(10));
    clock.confirm(at("2026-01-01T00:00:03Z"));
    assert_eq!(clock.now(), at("2026-01-01T00:00:00Z"));
}

#[test]
fn a_confirmed_jump_that_is_taken_back_leaves_no_doubt() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::minutes(5));
    clock.confirm(at("2026-01-01T00:05:00Z"));
    clock.step(TimeDelta::minutes(-5));
    assert!(clock.is_trusted() && clock.distrust().is_none());
    assert_eq!(clock.now(), at("2026-01-01T00:00:00Z"));
}

#[test]
fn a_clock_that_goes_back_and_returns_is_trusted_as_before() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::days(-3));
    clock.now();
    clock.advance(SECOND);
    clock.step(TimeDelta::days(3));
    assert_eq!(clock.now(), at("2026-01-01T00:00:01Z"));
    clock.step(TimeDelta::days(3));
    assert_eq!(clock.now(), at("2026-01-01T00:00:01Z"), "where it never was, it is not trusted");
}

#[test]
fn a_lease_granted_before_a_jump_ends_by_the_monotonic_clock() {
    let clock = ManualClock::default();
    clock.step(TimeDelta::hours(-1));
    clock.now();
    let until = clock.now() + TimeDelta::seconds(45);
    clock.step(TimeDelta::hours(1));
    assert!(clock.now() > until);
    clock.advance(SECOND * 44);
    assert!(clock.lease_time() < until, "the lease is not over");
    clock.advance(SECOND);
    assert!(clock.lease_time() >= until);
    clock.advance(SECOND * 15);
    assert_eq!(clock.lease_time(), clock.now());
}

#[test]
fn a_process_that_starts_much_later_than_the_last_time_known_is_trusted_after_an_hour() {
    let clock = ManualClock::default();
    clock.expect_since(at("2025-12-31T23:30:00Z"), TimeDelta::hours(1));
    assert!(clock.is_trusted());
    let clock = ManualClock::default();
    clock.expect_since(at("2025-09-23T00:00:00Z"), TimeDelta::hours(1));
    assert!(!clock.is_trusted() && clock.distrust().is_some());
    clock.advance(ALMOST_AN_HOUR);
    assert!(!clock.is_trusted());
    clock.advance(SECOND);
    assert!(clock.is_trusted() && clock.distrust().is_none());
}

#[test]
fn a_doubt_ends_when_the_clock_is_set_back_to_where_it_should_be() {
    let clock = ManualClock::default();
    clock.expect_since(at("2025-09-23T00:00:00Z"), TimeDelta::hours(1));
    clock.step(TimeDelta::days(-100));
    assert!(clock.is_trusted());
    clock.step(TimeDelta::days(100));
    clock.advance(HOUR / 2);
    assert_eq!(clock.now(), at("2025-09-23T00:30:00Z"), "what was doubted is no time to return to");
}

#[test]
fn stored_times_are_looked_at_at_the_start_after_each_step_a_minute_later_and_every_hour() {
    let clock = ManualClock::default();
    let mut watch = StepWatch::new(std::sync::Arc::new(clock.clone()));
    let mut look = || {
        let due = watch.due();
        if let Some(steps) = due {
            watch.checked(steps);
        }
        due.is_some()
    };
    assert!(look() && !look());
    clock.step(TimeDelta::hours(2));
    clock.advance(Duration::from_mins(2));
    assert!(!look(), "others may be right to be ahead");
    clock.step(TimeDelta::hours(-2));
    assert!(look() && !look());
    clock.step(TimeDelta::seconds(-30));
    assert!(look() && !look());
    clock.advance(SECOND * 60);
    assert!(look() && !look());
    clock.advance(HOUR);
    assert!(look() && !look());
}
