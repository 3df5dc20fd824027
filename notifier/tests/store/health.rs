//! How endpoints do, and what follows when they don't.

use std::sync::Arc;
use std::time::Duration;

use notifier::domain::health::HealthState;
use notifier::domain::notification::StateName;
use notifier::domain::subscription::Patch;
use notifier::domain::{
    DisableAfter, FailureClass, Health, NotificationId, Outcome, SubscriptionAction, SubscriptionId,
    SubscriptionState,
};

use super::audits::audits;
use super::operators::{data, told};
use super::world::World;

const DAY: Duration = Duration::from_hours(24);
const REFUSED: Outcome = Outcome::Failed(FailureClass::Status);
const MISSED: Outcome = Outcome::Failed(FailureClass::Connect);

async fn state(world: &World, id: SubscriptionId) -> SubscriptionState {
    world.store.subscription(id, None).await.expect("a store").expect("it is there").state
}

/// The next attempt at a fresh notification fails, a day after the last one.
async fn fail_a_day_later(world: &World, id: SubscriptionId) -> NotificationId {
    world.clock.advance(DAY);
    let notification = world.notify(id).await;
    let delivery = world.claim(id, 1000).await.into_iter().find(|one| one.notification == notification);
    world.fail(&delivery.expect("it is due")).await;
    notification
}

pub async fn a_subscription_whose_endpoint_fails_for_too_long_is_disabled_and_says_since_when(world: World) {
    let id = world.subscribe("orders", Some("shop")).await;
    let other = world.subscribe("others", Some("shop")).await;
    fail_a_day_later(&world, id).await;
    let since = world.now();
    for _ in 0..4 {
        fail_a_day_later(&world, id).await;
        assert_eq!(state(&world, id).await, SubscriptionState::Active);
    }
    told(&world).await;
    let last = fail_a_day_later(&world, id).await;
    let reason = "every attempt has failed since 2026-01-02T00:00:00Z";
    assert_eq!(state(&world, id).await.disabled_reason(), Some(reason));
    assert_eq!(
        (world.state(last).await, world.health(id).await.map(|h| h.failing_since)),
        (StateName::Held, Some(since))
    );
    assert!(world.claim(id, 10).await.is_empty());
    assert_eq!(state(&world, other).await, SubscriptionState::Active);

    let [event] = &told(&world).await[..] else { panic!("one event") };
    assert_eq!(
        (event.kind.as_str(), event.merchant.as_deref()),
        ("ringback.subscription.disabled", Some("shop"))
    );
    assert_eq!(data(event)["reason"], reason);
    let audit = &audits(&world, id, None).await.expect("it is there")[0];
    assert_eq!(
        (audit.action, audit.actor.as_str(), audit.at),
        (SubscriptionAction::Disable, "notifier", world.now())
    );
    assert_eq!((audit.reason.as_deref(), &audit.changed[..]), (Some(reason), &["state".to_owned()][..]));
}

pub async fn one_success_starts_the_count_over(world: World) {
    let id = world.subscribe("orders", None).await;
    for _ in 0..5 {
        fail_a_day_later(&world, id).await;
    }
    world.clock.advance(DAY);
    // In one group with a failure: what comes last counts.
    let [first, second] = &world.claim(id, 2).await[..] else { panic!("they are due again") };
    world.record_all(&[world.result(first, REFUSED), world.result(second, Outcome::Delivered)]).await;
    assert_eq!(world.health(id).await, None);
    for _ in 0..5 {
        fail_a_day_later(&world, id).await;
    }
    assert_eq!(state(&world, id).await, SubscriptionState::Active);
    fail_a_day_later(&world, id).await;
    assert_eq!(state(&world, id).await.as_str(), "disabled");
}

pub async fn nobody_is_disabled_where_that_is_off(world: World) {
    let id = world.subscribe("orders", None).await;
    for _ in 0..30 {
        world.clock.advance(DAY);
        world.notify(id).await;
        let results: Vec<_> = world.claim(id, 100).await.iter().map(|d| world.result(d, REFUSED)).collect();
        world.store.record(&results, DisableAfter::NEVER, world.now()).await.expect("a store");
    }
    assert_eq!(state(&world, id).await, SubscriptionState::Active);
}

pub async fn a_failure_from_before_a_change_disables_nothing(world: World) {
    let id = world.subscribe("orders", None).await;
    for _ in 0..5 {
        fail_a_day_later(&world, id).await;
    }
    world.clock.advance(DAY);
    let late = world.claim(id, 1).await.pop().expect("it is due again");
    let late = world.result(&late, REFUSED);
    world.clock.advance(Duration::from_secs(1));
    let patch = Patch { timeout: Some("5s".parse().expect("a time")), ..Patch::default() };
    let deed = world.deed(SubscriptionAction::Change);
    world.store.patch(id, None, &patch, &deed).await.expect("a store").expect("there").expect("valid");
    world.record_all(&[late]).await;
    assert_eq!(state(&world, id).await, SubscriptionState::Active);
}

pub async fn only_an_endpoint_that_fails_has_a_health_and_a_success_clears_it(world: World) {
    let [id, other] = [world.subscribe("a", None).await, world.subscribe("b", None).await];
    for _ in 0..3 {
        world.notify(id).await;
    }
    let since = world.now();
    world.record(&world.claim_one(id).await, Outcome::Delivered).await;
    assert_eq!(world.health(id).await, None);
    world.miss(&world.claim_one(id).await).await;
    let expected = Health { failing_since: since, failed_at: Some(since), unreached: 1, probing: None };
    assert_eq!(world.health(id).await, Some(expected));
    assert_eq!(Health::state(world.health(id).await.as_ref()), HealthState::Failing);
    assert_eq!(world.health(other).await, None);
    let late = world.claim_one(id).await;
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.health(id).await, Some(expected));
    world.record(&world.claim_one(id).await, Outcome::Delivered).await;
    assert_eq!(world.health(id).await, None);
    world.miss(&late).await;
    assert_eq!(world.health(id).await, None, "a result that does not count says nothing");
}

pub async fn resuming_another_url_and_deletion_hold_nothing_against_it_any_more(world: World) {
    let id = world.subscribe("orders", None).await;
    let patched = async |patch: Patch| {
        let deed = world.deed(SubscriptionAction::of(&patch));
        world.store.patch(id, None, &patch, &deed).await.expect("a store").expect("there").expect("valid");
        world.health(id).await
    };
    let failing = async || {
        world.clock.advance(Duration::from_hours(1));
        world.miss(&world.claim_one(id).await).await;
        assert!(world.health(id).await.is_some());
    };
    for _ in 0..5 {
        world.notify(id).await;
    }
    failing().await;
    let state = |state| Patch { state: Some(state), ..Patch::default() };
    assert!(patched(state(SubscriptionState::Active)).await.is_some(), "it was active");
    assert!(patched(state(SubscriptionState::Paused)).await.is_some());
    assert_eq!(patched(state(SubscriptionState::Active)).await, None);
    failing().await;
    assert!(patched(Patch { name: Some("new".into()), ..Patch::default() }).await.is_some());
    assert_eq!(patched(Patch { url: Some("https://moved.example/".into()), ..Patch::default() }).await, None);
    failing().await;
    world.store.forget_health(id).await.expect("a store");
    assert_eq!(world.health(id).await, None);
    failing().await;
    assert!(world.delete(id, None).await);
    assert_eq!(world.health(id).await, None);
}

pub async fn what_many_processes_record_at_once_is_counted_in_full(world: World) {
    let id = world.subscribe("orders", None).await;
    let events: Vec<_> = (0..8).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&events).await;
    let deliveries = world.claim(id, 8).await;
    let world = Arc::new(world);
    let processes: Vec<_> = deliveries
        .into_iter()
        .map(|delivery| {
            let world = world.clone();
            tokio::spawn(async move { world.record(&delivery, MISSED).await })
        })
        .collect();
    for process in processes {
        process.await.expect("no panic");
    }
    assert_eq!(world.health(id).await.map(|health| health.unreached), Some(8));
}
