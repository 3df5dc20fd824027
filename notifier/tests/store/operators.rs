//! What operators are told, and how much waits.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use messaging::Event;
use notifier::domain::backlog::{Extent, Limits, Waiting};
use notifier::domain::{Outcome, SubscriptionAction, SubscriptionState};
use notifier::store::Recorded;
use serde_json::{Value, json};

use super::audits::audits;
use super::world::World;

const LIMITS: Limits = Limits { each: Extent { waiting: 3, age: TimeDelta::hours(1) }, total: 5 };
const A_WHILE: Duration = Duration::from_secs(15);

/// What operators have been told since the last time this was asked.
pub async fn told(world: &World) -> Vec<Event> {
    let (outbox, token) = (world.store.outbox(), world.sources.ids.next());
    let claimed =
        outbox.claim(token, world.now(), world.now(), Duration::from_mins(1), 100).await.expect("a store");
    let ids: Vec<_> = claimed.iter().map(|row| row.id).collect();
    outbox.finish(token, &ids).await.expect("a store");
    claimed.into_iter().map(|row| row.event).collect()
}

pub fn data(event: &Event) -> Value {
    serde_json::from_str(event.data.get()).expect("JSON")
}

async fn measure(world: &World) -> bool {
    let token = world.sources.ids.next();
    world.store.measure_backlog(&LIMITS, token, world.now()).await.expect("a store")
}

pub async fn a_subscription_that_a_410_disables_is_told_to_operators_once(world: World) {
    let id = world.subscribe("orders", Some("shop")).await;
    for _ in 0..2 {
        world.notify(id).await;
    }
    let deliveries = world.claim(id, 2).await;
    let gone: Vec<_> = deliveries.iter().map(|delivery| world.result(delivery, Outcome::Gone)).collect();
    assert_eq!(world.record_all(&gone).await, [Recorded::Counted; 2]);
    let [event] = &told(&world).await[..] else { panic!("one event") };
    assert_eq!(
        (event.kind.as_str(), event.merchant.as_deref()),
        ("ringback.subscription.disabled", Some("shop"))
    );
    let data = data(event);
    assert_eq!((&data["subscription_id"], &data["subscription_name"]), (&json!(id.0), &json!("orders")));
    assert!(data["reason"].as_str().expect("a reason").contains("410"));
    let kept = audits(&world, id, None).await.expect("it is there");
    let [disabled, _created] = &kept[..] else { panic!("one more entry: {kept:?}") };
    assert_eq!((disabled.action, disabled.actor.as_str()), (SubscriptionAction::Disable, "notifier"));
    assert_eq!(disabled.reason.as_deref(), data["reason"].as_str());
}

pub async fn a_subscription_that_a_person_disables_is_told_to_operators(world: World) {
    let id = world.subscribe("orders", None).await;
    let disabled = SubscriptionState::Disabled { reason: "disabled by operator".into() };
    world.set_state(id, SubscriptionState::Paused).await;
    assert!(told(&world).await.is_empty());
    for _ in 0..2 {
        world.set_state(id, disabled.clone()).await;
    }
    let [event] = &told(&world).await[..] else { panic!("one event") };
    assert_eq!((data(event)["reason"].as_str(), &event.merchant), (Some("disabled by operator"), &None));
    world.set_state(id, SubscriptionState::Active).await;
    assert!(told(&world).await.is_empty());
    world.clock.advance(Duration::from_secs(1));
    world.set_state(id, disabled).await;
    assert_eq!(told(&world).await.len(), 1);
}

pub async fn an_exhausted_notification_is_told_with_what_it_was_about(world: World) {
    let id = world.subscribe("orders", Some("shop")).await;
    let notification = world.notify(id).await;
    let mut last = None;
    for _ in 0..3 {
        let delivery = world.claim_one(id).await;
        assert!(told(&world).await.is_empty());
        world.fail(&delivery).await;
        last = Some(delivery);
        world.clock.advance(Duration::from_mins(5));
    }
    let [event] = &told(&world).await[..] else { panic!("one event") };
    assert_eq!(event.kind, "ringback.notification.exhausted");
    assert_eq!(
        (event.subject.as_ref(), event.merchant.as_deref()),
        (Some(&notification.to_string()), Some("shop"))
    );
    let (data, shown) = (data(event), world.show(notification).await);
    assert_eq!(
        (&data["event_id"], &data["event_type"]),
        (&json!(shown.event.id), &json!("recharge.succeeded"))
    );
    assert_eq!((&data["attempts"], &data["failure_class"]), (&json!(3), &json!("status")));
    assert_eq!((&data["subject"], &data["subscription_name"]), (&json!("tx"), &json!("orders")));
    assert_eq!(world.fail(&last.expect("a delivery")).await, Recorded::Late);
    assert!(told(&world).await.is_empty());
}

/// Else each would make the next, for ever.
pub async fn an_exhausted_notification_for_operators_is_not_told(world: World) {
    let id = world.subscribe_to("alerts", None, &["ringback.*"]).await;
    world.ingest(&[world.event_of("shop", "ringback.notification.exhausted", "n")]).await;
    for _ in 0..3 {
        world.fail(&world.claim_one(id).await).await;
        world.clock.advance(Duration::from_mins(5));
    }
    assert!(world.claim(id, 1).await.is_empty());
    assert!(told(&world).await.is_empty());
}

pub async fn what_waits_is_counted_by_state_once_in_a_while(world: World) {
    let nothing = world.store.waiting().await.expect("a store");
    assert_eq!(nothing, Waiting::default());
    let [active, paused, deleted] = [
        world.subscribe("a", None).await,
        world.subscribe("b", None).await,
        world.subscribe("c", None).await,
    ];
    world.set_state(paused, SubscriptionState::Paused).await;
    let first = world.now();
    world.notify(active).await;
    world.clock.advance(Duration::from_secs(5));
    world.notify(active).await;
    world.store.delete(deleted, None, &world.deed(SubscriptionAction::Delete)).await.expect("a store");
    world.claim_one(active).await;
    assert!(measure(&world).await);
    let expected = Waiting {
        measured_at: Some(world.now()),
        pending: 1,
        delivering: 1,
        held: 2,
        oldest_pending_at: Some(first),
        oldest_held_at: Some(first),
        due_at: Some(world.now()),
    };
    assert_eq!(world.store.waiting().await.expect("a store"), expected);
    world.set_state(paused, SubscriptionState::Active).await;
    assert!(!measure(&world).await, "it has been measured lately");
    let waiting = world.store.waiting().await.expect("a store");
    assert_eq!(
        (waiting.pending, waiting.held, waiting.due_at),
        (3, 0, Some(first)),
        "states as they are now"
    );
    world.clock.advance(A_WHILE);
    assert!(measure(&world).await);
}

pub async fn a_backlog_that_grows_is_told_once_until_it_has_calmed_down(world: World) {
    let id = world.subscribe("orders", Some("shop")).await;
    let other = world.subscribe("others", Some("shop")).await;
    let told_after = async |more: usize| {
        for _ in 0..more {
            world.notify(id).await;
        }
        world.clock.advance(A_WHILE);
        assert!(measure(&world).await);
        let told = told(&world).await;
        told.iter()
            .map(|event| (event.subject.clone().expect("a subject"), data(event)["waiting"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(told_after(2).await, []);
    let each = [id, other].map(|id| (id.to_string(), json!(3)));
    let mut all = told_after(1).await;
    all.sort_by_key(|(subject, _)| subject.len());
    assert_eq!(all[0], ("all".to_owned(), json!(6)));
    assert!(each.iter().all(|one| all.contains(one)), "{all:?}");
    assert_eq!(told_after(1).await, []);
    for delivery in world.claim(id, 10).await {
        world.record(&delivery, Outcome::Delivered).await;
    }
    assert_eq!(told_after(0).await, []);
    assert_eq!(told_after(3).await, [(id.to_string(), json!(3))]);
}

pub async fn many_processes_measure_once(world: World) {
    let id = world.subscribe("orders", None).await;
    for _ in 0..3 {
        world.notify(id).await;
    }
    let world = Arc::new(world);
    let processes = (0..8).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { measure(&world).await })
    });
    let mut measured = 0;
    for process in processes.collect::<Vec<_>>() {
        measured += usize::from(process.await.expect("no panic"));
    }
    assert_eq!((measured, told(&world).await.len()), (1, 1));
}
