//! Who gets a slot, who waits for one, and that none is lost.

use futures_util::FutureExt;

use super::*;
use crate::domain::FailureClass;
use crate::engine::testing::{endpoint, exchange};

impl Slot {
    fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Unused)
    }
}

fn slots(max: u32) -> Slots {
    Slots::new(max, Arc::default())
}

/// As many slots as there are now.
fn take(slots: &Slots, endpoint: &Arc<Endpoint>) -> Vec<Slot> {
    let fresh = std::iter::from_fn(|| slots.take_fresh(endpoint, DateTime::UNIX_EPOCH));
    fresh.take_while(Slot::is_ready).collect()
}

#[test]
fn fresh_work_does_not_pass_work_that_waits() {
    let (slots, endpoint) = (slots(20), endpoint(1, 10));
    drop(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH));
    slots.mark(endpoint.subscription);
    assert!(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH).is_none());
    let reserved = slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64);
    assert_eq!(reserved[0].slots.len(), 5);
    slots.clear(endpoint.subscription, reserved[0].mark);
    drop(reserved);
    assert!(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH).is_some());
}

#[test]
fn work_that_came_while_a_claim_ran_is_not_forgotten() {
    let (slots, endpoint) = (slots(10), endpoint(1, 10));
    slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH);
    slots.mark(endpoint.subscription);
    let reserved = slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64);
    slots.mark(endpoint.subscription);
    slots.clear(endpoint.subscription, reserved[0].mark);
    drop(reserved);
    assert_eq!(slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64).len(), 1);
}

#[test]
fn those_that_wait_take_turns() {
    let slots = slots(4);
    let endpoints: Vec<_> = (1..=3).map(|n| endpoint(n, 1)).collect();
    for endpoint in &endpoints {
        drop(slots.take_fresh(endpoint, DateTime::UNIX_EPOCH));
        slots.mark(endpoint.subscription);
    }
    let mut served: Vec<u128> = Vec::new();
    for _ in 0..3 {
        let reserved = slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 1);
        served.extend(reserved.iter().map(|reservation| reservation.subscription.0.as_u128()));
    }
    assert_eq!(served, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_slot_is_free_again_when_it_is_dropped_in_whatever_phase() {
    let (slots, endpoint) = (slots(100), endpoint(1, 3));
    for phase in 0..3 {
        let mut held = take(&slots, &endpoint);
        assert_eq!(held.len(), 3);
        if phase > 0 {
            for slot in &mut held {
                slot.start(DateTime::UNIX_EPOCH);
            }
        }
        if phase > 1 {
            for slot in &mut held {
                slot.end(&exchange(5, None), DateTime::UNIX_EPOCH);
            }
        }
    }
}

#[test]
fn a_lane_has_room_again_when_its_request_ends_and_the_process_when_the_result_is_written() {
    let (slots, endpoint) = (slots(8), endpoint(1, 3));
    let mut unwritten = Vec::new();
    loop {
        let mut sent = take(&slots, &endpoint);
        if sent.is_empty() {
            break;
        }
        for slot in &mut sent {
            slot.start(DateTime::UNIX_EPOCH);
            slot.end(&exchange(5, None), DateTime::UNIX_EPOCH);
        }
        unwritten.extend(sent);
    }
    assert_eq!(unwritten.len(), 8);
    unwritten.pop();
    assert_eq!(take(&slots, &endpoint).len(), 1);
}

#[test]
fn a_lane_that_failed_has_room_again_only_when_that_is_written() {
    let (slots, endpoint) = (slots(100), endpoint(1, 1));
    let mut failed = sent(&slots, &endpoint);
    failed.end(&exchange(5, Some(FailureClass::Connect)), DateTime::UNIX_EPOCH);
    assert!(take(&slots, &endpoint).is_empty());
    drop(failed);
    assert_eq!(take(&slots, &endpoint).len(), 1);
}

/// One that is to be sent.
fn sent(slots: &Slots, endpoint: &Arc<Endpoint>) -> Slot {
    let mut slot = slots.take_fresh(endpoint, DateTime::UNIX_EPOCH).expect("room");
    assert!(slot.is_ready());
    slot.start(DateTime::UNIX_EPOCH);
    slot
}

/// `count` attempts that ended so, after `millis`.
fn attempts(
    slots: &Slots,
    endpoint: &Arc<Endpoint>,
    count: usize,
    failure: Option<FailureClass>,
    millis: u64,
) {
    for _ in 0..count {
        sent(slots, endpoint).end(&exchange(millis, failure), DateTime::UNIX_EPOCH);
    }
}

/// An attempt under way to each of them, after a quick answer.
fn one_under_way_of_each(slots: &Slots, endpoints: &[Arc<Endpoint>]) -> Vec<Slot> {
    let under_way = |endpoint: &Arc<Endpoint>| {
        attempts(slots, endpoint, 1, None, 1);
        sent(slots, endpoint)
    };
    endpoints.iter().map(under_way).collect()
}

/// Fresh deliveries that wait in memory: as many as may.
fn waiting(slots: &Slots, endpoint: &Arc<Endpoint>) -> Vec<Slot> {
    let fresh = std::iter::from_fn(|| slots.take_fresh(endpoint, DateTime::UNIX_EPOCH));
    let waiting: Vec<Slot> = fresh.collect();
    assert!(waiting.iter().all(|slot| matches!(slot.phase, Phase::Waiting(_))));
    waiting
}

#[test]
fn behind_a_lane_that_answers_quickly_deliveries_wait_for_its_slots_in_their_order() {
    let (slots, endpoint) = (slots(100), endpoint(1, 1));
    attempts(&slots, &endpoint, 1, None, 100);
    let mut first = sent(&slots, &endpoint);
    let mut behind = waiting(&slots, &endpoint);
    assert_eq!(behind.len(), 5, "half a second of work");
    first.end(&exchange(100, None), DateTime::UNIX_EPOCH);
    assert_eq!(behind[0].ready().now_or_never(), Some(true));
    assert_eq!(behind[1].ready().now_or_never(), None, "the lane has one slot");
    drop(behind.remove(0));
    assert_eq!(behind[0].ready().now_or_never(), Some(true));
}

#[test]
fn nobody_waits_in_memory_for_who_is_new_or_slow_or_fails_or_is_limited_by_a_rate() {
    let limited = Arc::new(Endpoint { rate_limit: Some(1_000), ..(*endpoint(4, 1)).clone() });
    for (endpoint, attempted) in [
        (endpoint(1, 1), None),
        (endpoint(2, 1), Some((None, 1_001))),
        (endpoint(3, 1), Some((Some(FailureClass::Status), 5))),
        (limited, Some((None, 5))),
    ] {
        let slots = slots(100);
        if let Some((failure, millis)) = attempted {
            attempts(&slots, &endpoint, 1, failure, millis);
        }
        let _under_way = sent(&slots, &endpoint);
        assert!(slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH).is_none());
    }
}

#[test]
fn when_two_in_a_row_fail_those_who_wait_in_memory_are_let_go() {
    let (slots, endpoint) = (slots(100), endpoint(1, 2));
    attempts(&slots, &endpoint, 1, None, 100);
    let (mut first, mut second) = (sent(&slots, &endpoint), sent(&slots, &endpoint));
    let mut behind = waiting(&slots, &endpoint);
    first.end(&exchange(5, Some(FailureClass::Status)), DateTime::UNIX_EPOCH);
    drop(first);
    assert_eq!(behind[0].ready().now_or_never(), Some(true), "one failure is nothing yet");
    second.end(&exchange(5, Some(FailureClass::Connect)), DateTime::UNIX_EPOCH);
    for slot in &mut behind[1..] {
        assert_eq!(slot.ready().now_or_never(), Some(false));
    }
    drop((second, behind.remove(0)));
    assert_eq!(slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64).len(), 0);
    behind.remove(0).given_back();
    assert_eq!(slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 64).len(), 1, "to be claimed again");
}

#[test]
fn a_lane_that_falls_silent_and_the_close_let_those_who_wait_in_memory_go() {
    for close in [false, true] {
        let (slots, endpoint) = (slots(100), endpoint(1, 1));
        attempts(&slots, &endpoint, 1, None, 100);
        let _silent = sent(&slots, &endpoint);
        let mut behind = waiting(&slots, &endpoint);
        if close {
            slots.close();
        } else {
            slots.settle(DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(1_001));
        }
        assert_eq!(behind[0].ready().now_or_never(), Some(false));
    }
}

#[test]
fn who_waits_in_memory_and_goes_leaves_nothing_taken() {
    let (slots, endpoint) = (slots(100), endpoint(1, 1));
    attempts(&slots, &endpoint, 1, None, 100);
    for _ in 0..3 {
        let first = sent(&slots, &endpoint);
        let behind = waiting(&slots, &endpoint);
        assert_eq!(behind.len(), 5);
        drop(first);
        drop(behind);
    }
}

#[test]
fn all_who_wait_in_memory_are_bounded_and_lanes_share_their_places() {
    let slots = slots(16);
    let endpoints: Vec<_> = (1..=3).map(|n| endpoint(n, 1)).collect();
    let _under_way = one_under_way_of_each(&slots, &endpoints);
    let behind: Vec<_> = endpoints.iter().map(|endpoint| waiting(&slots, endpoint)).collect();
    assert_eq!(behind.iter().map(Vec::len).collect::<Vec<_>>(), [32, 16, 8]);
}

#[test]
fn room_in_the_process_goes_to_who_waits_in_memory_whichever_lane_made_it() {
    let slots = slots(16);
    let endpoints: Vec<_> = (1..=17).map(|n| endpoint(n, 9)).collect();
    attempts(&slots, &endpoints[16], 1, None, 1);
    let mut under_way = one_under_way_of_each(&slots, &endpoints[..16]);
    let mut behind = waiting(&slots, &endpoints[16]);
    drop(under_way.pop());
    assert_eq!(behind[0].ready().now_or_never(), Some(true));
}

#[test]
fn a_newcomer_finds_room_though_those_who_wait_in_memory_could_fill_it_for_ever() {
    let (slots, newcomer) = (slots(16), endpoint(100, 1));
    let quick: Vec<_> = (1..=16).map(|n| endpoint(n, 1)).collect();
    let mut under_way = one_under_way_of_each(&slots, &quick);
    let _behind: Vec<_> = quick.iter().map(|endpoint| waiting(&slots, endpoint)).collect();
    let reserve = |endpoint: &Arc<Endpoint>| slots.reserve([endpoint].into_iter(), DateTime::UNIX_EPOCH, 8);
    assert!(reserve(&newcomer).is_empty());
    let mut first = under_way.remove(0);
    first.end(&exchange(1, None), DateTime::UNIX_EPOCH);
    drop(first);
    assert_eq!(reserve(&newcomer)[0].slots.len(), 1);
}

#[test]
fn while_enough_is_at_hand_no_more_is_claimed() {
    let (slots, endpoint) = (slots(100), endpoint(1, 1));
    attempts(&slots, &endpoint, 1, None, 50);
    slots.mark(endpoint.subscription);
    let reserve = || slots.reserve_for_backlog(DateTime::UNIX_EPOCH, 256);
    let mut reserved = reserve();
    assert_eq!(reserved[0].slots.len(), 1 + 10);
    assert!(reserve().is_empty());
    reserved[0].slots.truncate(1 + 4);
    assert!(reserve().is_empty());
    reserved[0].slots.truncate(1 + 3);
    assert_eq!(reserve()[0].slots.len(), 7);
}

#[test]
fn after_the_close_there_are_no_slots() {
    let (slots, endpoint) = (slots(10), endpoint(1, 10));
    slots.close();
    assert!(take(&slots, &endpoint).is_empty());
}

#[test]
fn before_a_pause_is_over_nothing_begins_though_its_result_is_lost_and_a_test_ends_it() {
    let (slots, endpoint) = (slots(64), endpoint(1, 2));
    let mut claimed = slots.take_fresh(&endpoint, DateTime::UNIX_EPOCH).expect("room");
    let mut asked = sent(&slots, &endpoint);
    let retry_after = Some(std::time::Duration::from_hours(1));
    let asking = Exchange { http_status: Some(503), retry_after, ..exchange(5, Some(FailureClass::Status)) };
    asked.end(&asking, DateTime::UNIX_EPOCH);
    drop(asked);
    let later = DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(59);
    assert!(!claimed.start(later), "it was claimed before the answer");
    claimed.given_back();
    assert!(slots.reserve_for_backlog(later, 8).is_empty());
    let over = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(1);
    assert_eq!(slots.next_token_at(later), Some(over));
    assert!(!slots.reserve_for_backlog(over, 8).is_empty());
    slots.forget_pause(endpoint.subscription);
    assert!(!slots.reserve_for_backlog(later, 8).is_empty());
}
