//! The pause that a receiver asks for by 429 or 503.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use notifier::domain::health::{HealthState, UNREACHABLE_AFTER};
use notifier::domain::notification::StateName;
use notifier::domain::subscription::Patch;
use notifier::domain::{
    FailureClass, Health, NotificationId, NotificationState, Outcome, SubscriptionAction, SubscriptionId,
    SubscriptionState, WaitsFor,
};

use super::world::{AdmitAll, World};

const SECOND: Duration = Duration::from_secs(1);
const REFUSED: Outcome = Outcome::Failed(FailureClass::Status);

async fn take_in(world: &World, count: usize) -> Vec<NotificationId> {
    let events: Vec<_> = (0..count).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&events).await;
    let subscriptions = world.store.directory().await.expect("a store");
    let subscriptions: Vec<_> = subscriptions.active().map(|endpoint| endpoint.subscription).collect();
    let of = |subscription| events.iter().map(move |event| NotificationId::of(event.key, subscription));
    subscriptions.into_iter().flat_map(of).collect()
}

async fn state(world: &World, id: SubscriptionId) -> HealthState {
    Health::state(world.health(id).await.as_ref())
}

async fn next_due(world: &World, id: SubscriptionId) -> DateTime<Utc> {
    world.store.next_due(&[id]).await.expect("a store")[0].1
}

async fn attempts(world: &World, of: &[NotificationId]) -> u32 {
    let mut attempts = 0;
    for id in of {
        attempts += world.show(*id).await.notification.attempts;
    }
    attempts
}

pub async fn a_receiver_that_asks_for_a_pause_is_left_alone_by_all_and_what_waits_takes_no_step(
    world: World,
) {
    let [id, other] = [world.subscribe("a", None).await, world.subscribe("b", None).await];
    take_in(&world, 20).await;
    let [answered, under_way] = &world.claim(id, 2).await[..] else { panic!("two are due") };
    world.ask_for_pause(answered, Some(5)).await;
    assert_eq!(state(&world, id).await, HealthState::PausedByReceiver);
    let until = world.now() + 5 * SECOND;
    assert_eq!((world.claim(id, 50).await.len(), next_due(&world, id).await), (0, until));
    world.record(under_way, Outcome::Delivered).await;
    assert_eq!(state(&world, id).await, HealthState::PausedByReceiver, "it had begun before");
    assert_eq!(world.claim(other, 50).await.len(), 20, "no other subscription is held back");
    world.clock.advance(Duration::from_millis(4_999));
    assert!(world.claim(id, 50).await.is_empty());
    world.clock.advance(Duration::from_millis(1));
    let probe = world.claim_one(id).await;
    assert_eq!((probe.climb, world.claim(id, 50).await.len()), (0, 0), "one at first");
    world.record(&probe, Outcome::Delivered).await;
    assert_eq!((world.health(id).await, world.claim(id, 50).await.len()), (None, 17));
}

pub async fn without_a_retry_after_the_pause_doubles_up_to_a_minute_while_such_answers_go_on(world: World) {
    let id = world.subscribe("orders", None).await;
    let all = take_in(&world, 20).await;
    let first = world.claim(id, 4).await;
    for delivery in &first {
        world.ask_for_pause(delivery, None).await;
    }
    for (probes, seconds) in (0..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert_eq!(attempts(&world, &all).await, 4 + probes);
        assert_eq!(next_due(&world, id).await, world.now() + seconds * SECOND, "probe {probes}");
        world.clock.advance(seconds * SECOND);
        world.ask_for_pause(&world.claim_one(id).await, None).await;
    }
    world.clock.advance(60 * SECOND);
    world.record(&world.claim_one(id).await, REFUSED).await;
    assert_eq!(state(&world, id).await, HealthState::Failing, "another answer ends it");
    world.ask_for_pause(&world.claim_one(id).await, None).await;
    assert_eq!(next_due(&world, id).await, world.now() + SECOND);
}

pub async fn a_retry_after_is_kept_up_to_a_day_and_one_of_no_time_counts_as_none(world: World) {
    let id = world.subscribe("orders", None).await;
    for (seconds, pause) in [(Some(7200), 7200), (Some(1_000_000), 86_400), (Some(0), 1), (None, 1)] {
        take_in(&world, 2).await;
        let delivery = world.claim_one(id).await;
        world.ask_for_pause(&delivery, seconds).await;
        let next = next_due(&world, id).await;
        assert_eq!(next, world.now() + pause * SECOND, "{seconds:?}");
        world.clock.advance(pause * SECOND);
        world.record(&world.claim_one(id).await, Outcome::Delivered).await;
    }
}

pub async fn what_is_fresh_waits_for_the_receivers_pause_as_well(world: World) {
    let [id, other] = [world.subscribe("a", None).await, world.subscribe("b", None).await];
    take_in(&world, 1).await;
    world.ask_for_pause(&world.claim_one(id).await, Some(60)).await;
    let event = world.event("fresh");
    let token = world.sources.ids.next();
    let ingested = world.store.ingest(std::slice::from_ref(&event), &mut AdmitAll, token, world.now()).await;
    let ingested = ingested.expect("a store");
    let handed_out: Vec<_> = ingested.deliveries.iter().map(|one| one.notification).collect();
    assert_eq!((handed_out, ingested.waiting), (vec![NotificationId::of(event.key, other)], 1));
}

pub async fn what_waits_says_for_what_and_until_when(world: World) {
    let id = world.subscribe("orders", None).await;
    let all = take_in(&world, 3).await;
    let shown = async |id| {
        let shown = world.show(id).await.notification;
        let next = match shown.state {
            NotificationState::Pending { next_attempt_at } => Some(next_attempt_at),
            _ => None,
        };
        (shown.waits_for, next)
    };
    let now = world.now();
    assert_eq!(shown(all[0]).await, (None, Some(now)));
    let answered = world.claim_one(id).await;
    assert_eq!(shown(answered.notification).await, (None, None), "an attempt is under way");
    world.ask_for_pause(&answered, Some(5)).await;
    assert_eq!(shown(answered.notification).await, (Some(WaitsFor::Retry), Some(now + 60 * SECOND)));
    let waiting = *all.iter().find(|id| **id != answered.notification).expect("two more");
    assert_eq!(shown(waiting).await, (Some(WaitsFor::Receiver), Some(now + 5 * SECOND)));
    let resent = world.resend(waiting).await.expect("it waits");
    assert_eq!(resent.waits_for, Some(WaitsFor::Receiver), "a resend waits as well");
    for (state, waits_for) in [
        (SubscriptionState::Paused, WaitsFor::Paused),
        (SubscriptionState::Disabled { reason: "by hand".into() }, WaitsFor::Disabled),
    ] {
        world.set_state(id, state).await;
        assert_eq!(shown(waiting).await, (Some(waits_for), None));
        assert_eq!(world.state(waiting).await, StateName::Held);
    }
    world.set_state(id, SubscriptionState::Active).await;
    for delivery in world.claim(id, UNREACHABLE_AFTER).await {
        world.miss(&delivery).await;
    }
    world.clock.advance(3600 * SECOND);
    while state(&world, id).await != HealthState::Unreachable {
        take_in(&world, 1).await;
        world.miss(&world.claim_one(id).await).await;
    }
    let late = take_in(&world, 1).await[0];
    assert_eq!(shown(late).await, (Some(WaitsFor::Probe), Some(world.now() + 60 * SECOND)));
}

pub async fn a_resume_another_url_and_a_test_end_the_receivers_pause(world: World) {
    let id = world.subscribe("orders", None).await;
    let patched = async |patch: Patch| {
        let deed = world.deed(SubscriptionAction::of(&patch));
        world.store.patch(id, None, &patch, &deed).await.expect("a store").expect("there").expect("valid");
    };
    let pause = async || {
        take_in(&world, 2).await;
        world.ask_for_pause(&world.claim_one(id).await, Some(3600)).await;
        assert!(world.claim(id, 1).await.is_empty());
    };
    pause().await;
    let state = |state| Patch { state: Some(state), ..Patch::default() };
    patched(state(SubscriptionState::Paused)).await;
    patched(state(SubscriptionState::Active)).await;
    pause().await;
    patched(Patch { url: Some("https://moved.example/".into()), ..Patch::default() }).await;
    pause().await;
    world.store.forget_health(id).await.expect("a store");
    assert_eq!(world.claim(id, 1).await.len(), 1);
}

pub async fn many_processes_never_probe_at_once_after_a_pause(world: World) {
    let id = world.subscribe("orders", None).await;
    take_in(&world, 20).await;
    world.ask_for_pause(&world.claim_one(id).await, Some(5)).await;
    let world = Arc::new(world);
    for _ in 0..5 {
        world.clock.advance(5 * SECOND);
        let processes: Vec<_> = (0..8)
            .map(|_| {
                let world = world.clone();
                tokio::spawn(async move { world.claim(id, 3).await })
            })
            .collect();
        let mut probes = Vec::new();
        for process in processes {
            probes.extend(process.await.expect("no panic"));
        }
        let [probe] = &probes[..] else { panic!("one probe: {}", probes.len()) };
        world.ask_for_pause(probe, Some(5)).await;
    }
}

pub async fn a_probe_that_is_given_back_leaves_the_next_one_at_once(world: World) {
    let id = world.subscribe("orders", None).await;
    take_in(&world, 5).await;
    let begun = world.claim(id, 2).await;
    world.ask_for_pause(&begun[0], Some(5)).await;
    world.clock.advance(5 * SECOND);
    let probe = world.claim_one(id).await;
    world.give_back(&begun[1]).await;
    assert!(world.claim(id, 5).await.is_empty(), "that was not the probe");
    world.give_back(&probe).await;
    assert_eq!(world.claim(id, 5).await.len(), 1);
    world.give_back(&probe).await;
    assert!(world.claim(id, 5).await.is_empty(), "nor was that any more");
}
