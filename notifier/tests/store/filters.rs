//! What the log can be narrowed to, each filter with each other.

use std::time::Duration;

use notifier::domain::health::UNREACHABLE_AFTER;
use notifier::domain::notification::StateName;
use notifier::domain::{
    BulkAction, BulkFilter, EventPattern, FailureClass, Notification, NotificationId, Outcome, States,
    SubscriptionId, SubscriptionState,
};
use notifier::store::NotificationFilter;

use super::log::walk;
use super::world::{FIRST_PAGE, World};

const KINDS: [&str; 4] =
    ["recharge.failed", "recharge.succeeded", "recharge", "ringback.notification.exhausted"];

/// Of receivers that were reached: who is not is probed by one attempt at a time.
const CLASSES: [FailureClass; 3] = [FailureClass::Status, FailureClass::AckMismatch, FailureClass::Body];

/// Notifications in every state and after every kind of failure, of three merchants' subscriptions and
/// the operator's; one of them is deleted.
async fn everything(world: &World) -> Vec<Notification> {
    let all = ["*", "ringback.*"];
    let mut subscriptions = Vec::new();
    for merchant in [Some("shop"), Some("bank"), Some("store"), None] {
        subscriptions.push(world.subscribe_to("a", merchant, &all).await);
    }
    for round in 0..12 {
        for merchant in ["shop", "bank", "store"] {
            world.ingest(&[world.event_of(merchant, KINDS[round % KINDS.len()], "tx")]).await;
            world.clock.advance(Duration::from_secs(1));
        }
        for subscription in &subscriptions {
            happen(world, *subscription, round).await;
        }
    }
    for subscription in &subscriptions {
        world.claim(*subscription, 2).await;
    }
    for merchant in ["shop", "bank", "store"] {
        world.ingest(&[world.event_of(merchant, KINDS[0], "tx")]).await;
    }
    world.set_state(subscriptions[1], SubscriptionState::Paused).await;
    world.delete(subscriptions[2], None).await;
    let found = world.store.notifications(&NotificationFilter::default(), FIRST_PAGE, world.now()).await;
    found.expect("a store")
}

/// Something else each round.
async fn happen(world: &World, subscription: SubscriptionId, round: usize) {
    let Some(delivery) = world.claim(subscription, 1).await.pop() else { return };
    let class = CLASSES[round % 3];
    match round % 4 {
        0 => drop(world.record(&delivery, Outcome::Delivered).await),
        1 => drop(world.record(&delivery, Outcome::Failed(class)).await),
        2 => drop(world.cancel(delivery.notification).await.expect("allowed")),
        _ => exhaust(world, delivery.notification, subscription, class).await,
    }
}

/// The delivery in hand is lost; the notification fails until its ladder ends.
async fn exhaust(world: &World, id: NotificationId, subscription: SubscriptionId, class: FailureClass) {
    while !world.state(id).await.is_final() {
        world.clock.advance(Duration::from_mins(6));
        for delivery in world.claim(subscription, 1).await {
            world.record(&delivery, Outcome::Failed(class)).await;
        }
    }
}

fn state_filters() -> Vec<States> {
    let mut filters = vec![
        States::ALL,
        States::UNDELIVERED,
        States::WAITING,
        States::FINAL,
        States::of(&[StateName::Exhausted, StateName::Cancelled]),
        States::of(&[StateName::Delivering, StateName::Held, StateName::Delivered]),
        States::of(&[StateName::Pending, StateName::Cancelled]),
    ];
    filters.extend(StateName::ALL.map(|state| States::of(&[state])));
    filters
}

fn matches(filter: &NotificationFilter, one: &Notification) -> bool {
    let classes = &filter.failure_classes;
    filter.states.contains(one.state.name())
        && (classes.is_empty() || one.failure_class.is_some_and(|class| classes.contains(&class)))
        && filter.event_type.as_ref().is_none_or(|pattern| pattern.matches(&one.event_type))
        && filter.owner.as_ref().is_none_or(|owner| one.merchant.as_ref() == Some(owner))
        && filter.subscription.is_none_or(|subscription| one.subscription == subscription)
        && filter.subject.as_ref().is_none_or(|subject| one.subject.as_ref() == Some(subject))
        && filter.created_from.is_none_or(|from| from <= one.created_at)
}

pub async fn every_combination_of_filters_narrows_the_list_and_keeps_its_order(world: World) {
    let all = everything(&world).await;
    let seen = |state| all.iter().any(|one| one.state.name() == state);
    assert_eq!(StateName::ALL.into_iter().filter(|state| seen(*state)).count(), StateName::ALL.len());
    let pattern = |text: &str| -> Option<EventPattern> { Some(text.parse().expect(text)) };
    let types =
        [None, pattern("recharge.failed"), pattern("recharge.*"), pattern("ringback.*"), pattern("*")];
    let classes = [vec![], vec![CLASSES[0]], CLASSES[1..].to_vec()];
    let middle = all[all.len() / 2].clone();
    let others = [
        NotificationFilter::default(),
        NotificationFilter { owner: Some("shop".into()), ..Default::default() },
        NotificationFilter { subscription: Some(middle.subscription), ..Default::default() },
        NotificationFilter { subject: Some("tx".into()), ..Default::default() },
        NotificationFilter { created_from: Some(middle.created_at), ..Default::default() },
    ];
    let mut shown = 0;
    for states in state_filters() {
        for event_type in &types {
            for failure_classes in &classes {
                for other in &others {
                    let (event_type, failure_classes) = (event_type.clone(), failure_classes.clone());
                    let filter = NotificationFilter { states, event_type, failure_classes, ..other.clone() };
                    let wanted = all.iter().filter(|one| matches(&filter, one)).map(|one| one.id);
                    let wanted: Vec<NotificationId> = wanted.collect();
                    assert_eq!(world.list(filter.clone()).await, wanted, "{filter:?}");
                    if wanted.len() > 7 {
                        assert_eq!(walk(&world, &filter, 7).await, wanted, "{filter:?}");
                    }
                    shown += usize::from(!wanted.is_empty());
                }
            }
        }
    }
    assert!(shown > 300, "only {shown} show something");
}

/// More types than a list goes through one by one, and more events than it looks at at first.
pub async fn a_family_of_many_types_lists_like_any_other(world: World) {
    let subscription = world.subscribe_to("a", None, &["*"]).await;
    for types in [7, 250] {
        let family = format!("many-{types}");
        let mut events = Vec::new();
        for n in 0..500 {
            let kind = if n % 2 == 0 { format!("{family}.{}", n % types) } else { "other".to_owned() };
            events.push(world.event_of("shop", &kind, "tx"));
            world.clock.advance(Duration::from_millis(1));
        }
        world.ingest(&events).await;
        let filter = NotificationFilter {
            event_type: Some(format!("{family}.*").parse().expect("a family")),
            ..Default::default()
        };
        let of_family = events.iter().rev().filter(|event| event.kind != "other");
        let wanted: Vec<_> = of_family.map(|event| NotificationId::of(event.key, subscription)).collect();
        assert_eq!(walk(&world, &filter, 90).await, wanted);
    }
}

pub async fn a_class_of_failures_finds_what_waits_behind_an_endpoint_that_fails_so(world: World) {
    let [lost, paused, well, held] =
        ["lost", "paused", "well", "held"].map(|name| world.subscribe(name, Some("shop")));
    let (lost, paused, well, held) = (lost.await, paused.await, well.await, held.await);
    for _ in 0..UNREACHABLE_AFTER + 2 {
        world.ingest(&[world.event("tx")]).await;
    }
    for subscription in [lost, held] {
        for delivery in world.claim(subscription, UNREACHABLE_AFTER).await {
            world.miss(&delivery).await;
        }
    }
    world.set_state(held, SubscriptionState::Disabled { reason: "a test".into() }).await;
    world.ask_for_pause(&world.claim_one(paused).await, Some(60)).await;
    world.fail(&world.claim_one(well).await).await;
    let of = |classes: &[FailureClass]| NotificationFilter {
        failure_classes: classes.to_vec(),
        ..Default::default()
    };
    let count = async |filter: NotificationFilter| {
        let found = world.store.notifications(&filter, FIRST_PAGE, world.now()).await.expect("a store");
        let counts =
            [lost, paused, well, held].map(|id| found.iter().filter(|one| one.subscription == id).count());
        assert_eq!(counts.iter().sum::<usize>(), found.len());
        assert!(found.is_sorted_by(|newer, older| newer.id >= older.id));
        counts
    };
    let all = UNREACHABLE_AFTER as usize + 2;
    let (connect, status) = (FailureClass::Connect, FailureClass::Status);
    // What waits behind a subscription that is not active waits for that.
    assert_eq!(count(of(&[connect])).await, [all, 0, 0, all - 2]);
    assert_eq!(count(of(&[status])).await, [0, all, 1, 0]);
    assert_eq!(count(of(&[connect, status])).await, [all, all, 1, all - 2]);
    assert_eq!(count(of(&[FailureClass::Dns])).await, [0; 4]);
    let pending = States::of(&[StateName::Pending]);
    assert_eq!(count(NotificationFilter { states: pending, ..of(&[connect]) }).await, [all, 0, 0, 0]);
    let final_ones = NotificationFilter { states: States::FINAL, ..of(&[connect]) };
    assert_eq!(count(final_ones).await, [0; 4]);
    for narrowed in [
        NotificationFilter { subscription: Some(lost), ..of(&[connect]) },
        NotificationFilter { subscription: Some(lost), owner: Some("shop".into()), ..of(&[connect]) },
        NotificationFilter { subscription: Some(lost), subject: Some("tx".into()), ..of(&[connect]) },
    ] {
        assert_eq!(count(narrowed.clone()).await, [all, 0, 0, 0], "{narrowed:?}");
        assert_eq!(walk(&world, &narrowed, 5).await.len(), all);
    }
    assert_eq!(count(NotificationFilter { owner: Some("bank".into()), ..of(&[connect]) }).await, [0; 4]);
    let filter =
        BulkFilter { failure_classes: vec![connect], ..BulkFilter::all(BulkAction::Cancellation, lost) };
    let id = world.start(BulkAction::Cancellation, filter).await;
    while world.step(5).await.more {}
    let done = world.shown(BulkAction::Cancellation, id).await.expect("there");
    assert_eq!((done.matched, done.changed), (all as u64, all as u64));
}
