//! Times that were written with a clock that was ahead.

use std::time::Duration;

use chrono::TimeDelta;
use notifier::domain::Outcome;
use notifier::store::{AdmitNone, Clamped, Want};
use uuid::Uuid;

use super::world::World;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Looks at all that waits, two at a time; how many times were ahead.
async fn clamp(world: &World) -> u64 {
    let (mut after, mut rows) = (Uuid::nil(), 0);
    loop {
        let Clamped { rows: these, last } =
            world.store.clamp_times(after, world.now(), 2).await.expect("a store");
        rows += these;
        let Some(last) = last else { return rows };
        after = last;
    }
}

fn set_back(world: &World) {
    world.clock.step(TimeDelta::hours(-1));
}

pub async fn a_retry_from_a_clock_that_was_ahead_is_due_after_its_step(world: World) {
    let subscription = world.subscribe("a", None).await;
    for _ in 0..3 {
        world.notify(subscription).await;
    }
    world.clock.advance(HOUR);
    for delivery in world.claim(subscription, 3).await {
        world.fail(&delivery).await;
    }
    set_back(&world);
    world.clock.advance(MINUTE);
    assert_eq!(world.claim(subscription, 10).await.len(), 0);
    assert_eq!(clamp(&world).await, 4, "three retries and what is held against the endpoint");
    world.clock.advance(Duration::from_micros(59_999_999));
    assert_eq!(world.claim(subscription, 10).await.len(), 0, "not before its step");
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(world.claim(subscription, 10).await.len(), 3);
}

pub async fn what_is_fresh_from_a_clock_that_was_ahead_is_due_at_once(world: World) {
    let subscription = world.subscribe("a", None).await;
    world.clock.advance(HOUR);
    world.notify(subscription).await;
    set_back(&world);
    assert_eq!(world.claim(subscription, 10).await.len(), 0);
    assert_eq!(clamp(&world).await, 1);
    assert_eq!(world.claim(subscription, 10).await.len(), 1);
}

pub async fn a_lease_from_a_clock_that_was_ahead_ends_within_its_length(world: World) {
    let subscription = world.subscribe("a", None).await;
    world.notify(subscription).await;
    world.clock.advance(HOUR);
    let lost = world.claim_one(subscription).await;
    set_back(&world);
    assert_eq!(clamp(&world).await, 1);
    assert_eq!(world.claim(subscription, 1).await.len(), 0, "its holder may be at work");
    world.clock.advance(Duration::from_secs(45));
    let again = world.claim_one(subscription).await;
    assert_eq!((again.notification, again.number), (lost.notification, lost.number));
}

pub async fn a_lease_that_has_not_ended_is_not_taken_over_by_a_clock_that_has_jumped(world: World) {
    let subscription = world.subscribe("a", None).await;
    world.notify(subscription).await;
    let held = world.claim_one(subscription).await;
    let wants = [Want { subscription, quota: 10, retries_first: false }];
    let (token, ended) = (world.sources.ids.next(), world.now());
    world.notify(subscription).await;
    let later = world.now() + TimeDelta::days(1);
    let claimed = world.store.claim_due(&wants, token, later, ended).await.expect("a store");
    assert_eq!(claimed.len(), 1, "what is under no lease is handed out");
    assert_ne!(claimed[0].notification, held.notification);
}

pub async fn times_that_can_be_stay_as_they_are(world: World) {
    let subscription = world.subscribe("a", None).await;
    let ids = [world.notify(subscription).await, world.notify(subscription).await];
    let delivery = world.claim_one(subscription).await;
    world.fail(&delivery).await;
    world.claim_one(subscription).await;
    let shown = async || [world.show(ids[0]).await.notification, world.show(ids[1]).await.notification];
    let before = shown().await;
    assert_eq!(clamp(&world).await, 0);
    assert_eq!(shown().await, before);
}

pub async fn an_endpoint_that_was_found_unreachable_by_a_clock_that_was_ahead_is_probed(world: World) {
    let subscription = world.subscribe("a", None).await;
    for _ in 0..10 {
        world.notify(subscription).await;
    }
    world.clock.advance(HOUR);
    for delivery in world.claim(subscription, 10).await {
        world.miss(&delivery).await;
    }
    set_back(&world);
    clamp(&world).await;
    assert!(world.health(subscription).await.is_some_and(|health| health.failing_since <= world.now()));
    world.clock.advance(MINUTE);
    assert_eq!(world.claim(subscription, 10).await.len(), 1);
}

pub async fn a_receivers_pause_stays_as_long_as_it_was_asked_for_whatever_the_clock_did(world: World) {
    let subscription = world.subscribe("a", None).await;
    for _ in 0..3 {
        world.notify(subscription).await;
    }
    let next = async || world.store.next_due(&[subscription]).await.expect("a store")[0].1;
    world.ask_for_pause(&world.claim_one(subscription).await, Some(7200)).await;
    let until = next().await;
    clamp(&world).await;
    assert_eq!(next().await, until, "a pause of two hours is no wrong time");
    world.clock.advance(2 * HOUR);
    world.clock.advance(HOUR);
    world.ask_for_pause(&world.claim_one(subscription).await, Some(7200)).await;
    set_back(&world);
    clamp(&world).await;
    assert_eq!(next().await, world.now() + 2 * HOUR);
}

pub async fn the_last_time_that_was_noted_is_kept(world: World) {
    assert_eq!(world.store.last_seen().await.expect("a store"), None);
    for _ in 0..2 {
        world.store.note_time(world.now()).await.expect("a store");
        assert_eq!(world.store.last_seen().await.expect("a store"), Some(world.now()));
        set_back(&world);
    }
}

/// A time that was noted with a clock that was wrong is corrected all the same.
pub async fn the_time_that_is_noted_does_not_go_back_for_a_process_whose_clock_is_slow(world: World) {
    let now = world.now();
    for (noted, seen) in [(0, 0), (-20, 0), (1, 1), (3600, 3600), (0, 0)] {
        world.store.note_time(now + TimeDelta::seconds(noted)).await.expect("a store");
        let last = world.store.last_seen().await.expect("a store");
        assert_eq!(last, Some(now + TimeDelta::seconds(seen)));
    }
}

/// An event below the floor is expired only if it is older than the retention as well.
pub async fn an_event_below_a_floor_that_was_raised_too_far_is_taken(world: World) {
    let subscription = world.subscribe("a", None).await;
    world.notify(subscription).await;
    let delivery = world.claim_one(subscription).await;
    world.record(&delivery, Outcome::Delivered).await;
    let wrong = world.now() + TimeDelta::days(100);
    while world.store.remove(wrong, 10).await.expect("a store").any_rows() {}
    let (event, token) = (world.event("tx"), world.sources.ids.next());
    let events = std::slice::from_ref(&event);
    let ingested = world.store.ingest(events, &mut AdmitNone, token, world.now()).await.expect("a store");
    assert_eq!((ingested.notifications, ingested.refused.len()), (1, 0));
    assert_eq!(world.claim(subscription, 10).await.len(), 1);
}
