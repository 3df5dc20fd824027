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

use chrono::{DateTime, Utc};
use notifier::store::{NotificationFilter, Recorded};
use runtime::testing::log::Log;

use super::audits::audits;
use super::operators::{data, told};
use super::world::{AdmitAll, FIRST_PAGE, World};

const MINUTE: Duration = Duration::from_mins(1);
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
    let (log, guard) = Log::start();
    let last = fail_a_day_later(&world, id).await;
    drop(guard);
    let reason = "every attempt has failed since 2026-01-02T00:00:00Z";
    let logged: Vec<_> =
        log.take().into_iter().filter(|line| line.contains("subscription.disabled")).collect();
    let [line] = &logged[..] else { panic!("one line: {logged:?}") };
    let fields = [format!("subscription.id={id}"), format!("reason={reason:?}")];
    assert!(line.contains("WARN") && fields.iter().all(|field| line.contains(field)), "{line}");
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
    let expected = Health {
        failing_since: since,
        failed_at: Some(since),
        unreached: 1,
        failure_class: Some(FailureClass::Connect),
        probing: None,
    };
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

/// Ten attempts that reached nobody, and `waiting` notifications that had none.
async fn lose(world: &World, id: SubscriptionId, waiting: usize) {
    let events: Vec<_> = (0..10 + waiting).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&events).await;
    for delivery in world.claim(id, 10).await {
        world.miss(&delivery).await;
    }
    assert_eq!(Health::state(world.health(id).await.as_ref()), HealthState::Unreachable);
}

async fn next_due(world: &World, id: SubscriptionId) -> DateTime<Utc> {
    world.store.next_due(&[id]).await.expect("a store")[0].1
}

async fn attempts(world: &World) -> u32 {
    let all = world.store.notifications(&NotificationFilter::default(), FIRST_PAGE, world.now()).await;
    all.expect("a store").iter().map(|notification| notification.attempts).sum()
}

pub async fn while_nobody_is_reached_one_at_a_time_is_tried_and_the_rest_keeps_its_ladder(world: World) {
    let [id, other] = [world.subscribe("a", None).await, world.subscribe("b", None).await];
    lose(&world, id, 20).await;
    assert!(world.claim(id, 50).await.is_empty());
    assert_eq!(world.claim(other, 50).await.len(), 30, "nobody else is held back");
    assert_eq!(next_due(&world, id).await, world.now() + MINUTE);
    for probes in 1..=5 {
        world.clock.advance(MINUTE);
        let probe = world.claim_one(id).await;
        assert!(world.claim(id, 50).await.is_empty());
        assert_eq!(next_due(&world, id).await, probe.lease.until());
        world.miss(&probe).await;
        assert_eq!((attempts(&world).await, next_due(&world, id).await), (10 + probes, world.now() + MINUTE));
    }
    world.clock.advance(MINUTE);
    world.fail(&world.claim_one(id).await).await;
    assert_eq!(world.health(id).await.and_then(|health| health.probing), None);
    let rest = world.claim(id, 50).await;
    let untried = rest.iter().filter(|delivery| delivery.climb == 0).count();
    assert!(rest.len() > 20 && untried >= 14, "{untried} of {}", rest.len());
}

pub async fn what_is_fresh_is_not_handed_out_for_an_endpoint_that_is_unreachable(world: World) {
    let [id, other] = [world.subscribe("a", None).await, world.subscribe("b", None).await];
    lose(&world, id, 0).await;
    let event = world.event("fresh");
    let token = world.sources.ids.next();
    let ingested = world.store.ingest(std::slice::from_ref(&event), &mut AdmitAll, token, world.now()).await;
    let ingested = ingested.expect("a store");
    let handed_out: Vec<_> = ingested.deliveries.iter().map(|one| one.notification).collect();
    assert_eq!((handed_out, ingested.waiting), (vec![NotificationId::of(event.key, other)], 1));
    assert_eq!(world.state(NotificationId::of(event.key, id)).await, StateName::Pending);
    world.clock.advance(MINUTE);
    assert_eq!(world.claim(id, 50).await.len(), 1);
}

pub async fn many_processes_never_probe_at_once(world: World) {
    let id = world.subscribe("orders", None).await;
    lose(&world, id, 20).await;
    let world = Arc::new(world);
    for _ in 0..5 {
        world.clock.advance(MINUTE);
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
        world.miss(probe).await;
    }
}

pub async fn a_probe_that_was_lost_is_over_with_its_lease(world: World) {
    let id = world.subscribe("orders", None).await;
    lose(&world, id, 3).await;
    world.clock.advance(MINUTE);
    let lost = world.claim_one(id).await;
    let life = (lost.lease.until() - world.now()).to_std().expect("it lives");
    world.clock.advance(life.saturating_sub(Duration::from_millis(1)));
    assert!(world.claim(id, 50).await.is_empty());
    world.clock.advance(Duration::from_millis(1));
    let next = world.claim(id, 50).await;
    assert_eq!(next.len(), 1);
    world.record(&lost, Outcome::Delivered).await;
    let probing = world.health(id).await.and_then(|health| health.probing);
    let counted = lost.notification != next[0].notification;
    assert_eq!(probing.is_none(), counted, "it reached somebody if its lease was still its own");
}

pub async fn what_had_begun_before_neither_ends_a_probe_nor_brings_the_next_one_forward(world: World) {
    let id = world.subscribe("orders", None).await;
    let events: Vec<_> = (0..20).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&events).await;
    let begun = world.claim(id, 12).await;
    for delivery in &begun[..10] {
        world.miss(delivery).await;
    }
    world.clock.advance(MINUTE);
    let probe = world.claim_one(id).await;
    let own = begun[10..].iter().find(|one| one.notification != probe.notification).expect("one of them");
    assert_eq!(world.miss(own).await, Recorded::Counted);
    assert_eq!(next_due(&world, id).await, probe.lease.until());
    assert!(world.claim(id, 50).await.is_empty());
    world.miss(&probe).await;
    assert_eq!(next_due(&world, id).await, world.now() + MINUTE);
}

pub async fn probing_ends_with_any_answer_and_with_a_resume(world: World) {
    let id = world.subscribe("orders", None).await;
    lose(&world, id, 5).await;
    for outcome in
        [Outcome::Failed(FailureClass::Timeout), Outcome::Failed(FailureClass::AckMismatch), REFUSED]
    {
        world.clock.advance(MINUTE);
        let probe = world.claim_one(id).await;
        world.record(&probe, outcome).await;
        assert!(world.claim(id, 50).await.len() > 1, "{outcome:?}");
        world.clock.advance(MINUTE);
        lose(&world, id, 5).await;
    }
    world.set_state(id, SubscriptionState::Paused).await;
    world.clock.advance(MINUTE);
    assert!(world.claim(id, 50).await.is_empty());
    world.set_state(id, SubscriptionState::Active).await;
    assert!(world.claim(id, 50).await.len() > 1);
}
