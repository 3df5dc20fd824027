//! Events in, deliveries out, results back.

use std::collections::HashSet;
use std::time::Duration;

use messaging::Event;
use notifier::domain::lease::LEASE_MARGIN;
use notifier::domain::notification::StateName;
use notifier::domain::{NewEvent, NotificationId, NotificationState, Outcome, SubscriptionState};
use notifier::store::{NotificationFilter, Recorded};

use super::world::{AdmitAll, World};

/// Law 4.
pub async fn an_event_makes_one_notification_per_subscription_however_often_it_arrives(world: World) {
    let first = world.subscribe("first", None).await;
    let second = world.subscribe("second", Some("shop")).await;
    let event = world.event("tx-1");
    let batch = [event.clone(), event.clone(), event.clone()];
    let ingested = world.ingest(&batch).await;
    assert_eq!((ingested.events, ingested.notifications, ingested.waiting), (1, 2, 2));
    let again = world.ingest(&batch).await;
    assert_eq!((again.events, again.notifications, again.waiting), (0, 0, 0));
    let listed: HashSet<_> = world.list(NotificationFilter::default()).await.into_iter().collect();
    let expected = [first, second].map(|id| NotificationId::of(event.key, id));
    assert_eq!(listed, HashSet::from(expected));
}

/// Law 4, when nothing of the first notification waits any more.
pub async fn an_event_that_comes_again_after_its_delivery_is_not_told_again(world: World) {
    let subscription = world.subscribe("a", None).await;
    let event = world.event("tx-1");
    world.ingest(std::slice::from_ref(&event)).await;
    let delivery = world.claim_one(subscription).await;
    world.record(&delivery, Outcome::Delivered).await;
    let fresh = world.event("tx-2");
    let again = world.ingest(&[event, fresh.clone()]).await;
    assert_eq!((again.events, again.notifications, again.waiting), (1, 1, 1));
    let claimed: Vec<_> =
        world.claim(subscription, 10).await.into_iter().map(|one| one.notification).collect();
    assert_eq!(claimed, [NotificationId::of(fresh.key, subscription)]);
    assert_eq!(world.list(NotificationFilter::default()).await.len(), 2);
}

/// What any program may publish, a database must take: else its batch would come again for ever.
pub async fn an_event_with_odd_attributes_is_kept_like_any_other(world: World) {
    let subscription = world.subscribe("all", None).await;
    for (traceparent, time) in
        [("\0", "2026-01-01T00:00:00Z"), ("", "0000-01-01T00:00:00Z"), ("é", "9999-12-31T23:59:60Z")]
    {
        let event = serde_json::json!({
            "specversion": "1.0", "id": "odd", "source": time, "type": "recharge.odd", "time": time,
            "traceparent": traceparent, "data": { "nul": "\0" },
        });
        let event = Event::parse(event.to_string().as_bytes()).expect("an event");
        let ingested = world.ingest(&[NewEvent::from(&event)]).await;
        assert_eq!(ingested.notifications, 1, "{traceparent:?} {time}");
        world.show(NotificationId::of(event.key(), subscription)).await;
    }
}

/// Law 4, with several processes at it.
pub async fn the_same_events_at_the_same_time_make_each_notification_once(world: World) {
    world.subscribe("first", None).await;
    world.subscribe("second", None).await;
    let events: Vec<_> = (0..50).map(|n| world.event(&format!("tx-{n}"))).collect();
    let mut backwards = events.clone();
    backwards.reverse();
    let tasks = (0..8).map(|n| {
        let (store, now) = (world.store.clone(), world.now());
        let batch = if n % 2 == 0 { events.clone() } else { backwards.clone() };
        let token = world.sources.ids.next();
        tokio::spawn(async move { store.ingest(&batch, &mut AdmitAll, token, now).await })
    });
    let mut delivered = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        let ingested = task.await.expect("no panic").expect("no deadlock");
        delivered.extend(ingested.deliveries.into_iter().map(|delivery| delivery.notification));
    }
    assert_eq!(delivered.len(), 100);
    assert_eq!(delivered.into_iter().collect::<HashSet<_>>().len(), 100);
    assert_eq!(world.list(NotificationFilter::default()).await.len(), 100);
}

pub async fn a_merchants_subscription_hears_only_of_that_merchants_events(world: World) {
    let shop = world.subscribe("a", Some("shop")).await;
    let bank = world.subscribe("a", Some("bank")).await;
    let all = world.subscribe("a", None).await;
    let of_shop = world.event_of("shop", "recharge.failed", "1");
    let of_bank = world.event_of("bank", "recharge.failed", "2");
    let mut of_nobody = world.event_of("x", "recharge.failed", "3");
    of_nobody.merchant = None;
    let other_type = world.event_of("shop", "order.paid", "4");
    world.ingest(&[of_shop.clone(), of_bank.clone(), of_nobody.clone(), other_type]).await;
    let heard_by =
        |subscription| NotificationFilter { subscription: Some(subscription), ..Default::default() };
    assert_eq!(world.list(heard_by(shop)).await, [NotificationId::of(of_shop.key, shop)]);
    assert_eq!(world.list(heard_by(bank)).await, [NotificationId::of(of_bank.key, bank)]);
    assert_eq!(world.list(heard_by(all)).await.len(), 3);
}

pub async fn fresh_notifications_are_handed_out_at_once_where_there_is_room(world: World) {
    let active = world.subscribe("active", None).await;
    let paused = world.subscribe("paused", None).await;
    world.set_state(paused, SubscriptionState::Paused).await;
    let event = world.event("tx-1");
    let token = world.sources.ids.next();
    let events = [event.clone()];
    let ingested = world.store.ingest(&events, &mut AdmitAll, token, world.now()).await.expect("a store");
    assert_eq!((ingested.notifications, ingested.waiting), (2, 0));
    let [delivery] = &ingested.deliveries[..] else { panic!("one delivery") };
    assert_eq!(delivery.notification, NotificationId::of(event.key, active));
    assert_eq!((delivery.number, delivery.climb), (1, 0));
    assert_eq!(delivery.message, event.message());
    assert_eq!(delivery.lease.token(), token);
    assert_eq!(world.state(delivery.notification).await, StateName::Delivering);
    assert!(world.claim(active, 10).await.is_empty());
    assert_eq!(world.record(delivery, Outcome::Delivered).await, Recorded::Counted);
    assert_eq!(world.state(delivery.notification).await, StateName::Delivered);
    assert_eq!(world.state(NotificationId::of(event.key, paused)).await, StateName::Held);
}

/// Law 5.
pub async fn concurrent_claims_never_share_a_notification(world: World) {
    let subscription = world.subscribe("a", None).await;
    let events: Vec<_> = (0..100).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&events).await;
    let world = std::sync::Arc::new(world);
    let claimers = (0..8).map(|_| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            for _ in 0..10 {
                claimed.extend(world.claim(subscription, 7).await);
            }
            claimed
        })
    });
    let mut claimed = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        claimed.extend(claimer.await.expect("no panic").into_iter().map(|delivery| delivery.notification));
    }
    claimed.extend(world.claim(subscription, 100).await.into_iter().map(|delivery| delivery.notification));
    assert_eq!(claimed.len(), 100);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), 100);
}

/// Law 5.
pub async fn a_lease_that_is_given_back_is_free_at_once_and_one_that_is_not_ones_own_stays(world: World) {
    let subscription = world.subscribe("a", None).await;
    let notification = world.notify(subscription).await;
    let first = world.claim_one(subscription).await;
    world.give_back(&first).await;
    assert_eq!(world.state(notification).await, StateName::Pending);
    let second = world.claim_one(subscription).await;
    assert_eq!((second.notification, second.number, second.climb), (notification, 1, 0));
    world.give_back(&first).await;
    assert_eq!(world.state(notification).await, StateName::Delivering);
    assert_eq!(world.record(&first, Outcome::Delivered).await, Recorded::Late);
    assert_eq!(world.record(&second, Outcome::Delivered).await, Recorded::Counted);
    world.give_back(&second).await;
    assert_eq!(world.state(notification).await, StateName::Delivered);
}

/// Law 5.
pub async fn nothing_under_a_live_lease_is_handed_out_and_an_expired_one_keeps_its_attempt_number(
    world: World,
) {
    let subscription = world.subscribe("a", None).await;
    world.notify(subscription).await;
    let first = world.claim_one(subscription).await;
    let timeout = first.endpoint.timeout.get();
    assert_eq!(first.lease.until(), world.now() + timeout + LEASE_MARGIN);
    world.clock.advance(timeout);
    assert!(world.claim(subscription, 10).await.is_empty());
    world.clock.advance(LEASE_MARGIN);
    let second = world.claim_one(subscription).await;
    assert_eq!(second.notification, first.notification);
    assert_eq!((second.number, second.climb), (1, 0));
    assert_ne!(second.lease.token(), first.lease.token());
}

/// Law 5.
pub async fn a_late_result_changes_nothing_and_logs_no_attempt(world: World) {
    let subscription = world.subscribe("a", None).await;
    let id = world.notify(subscription).await;
    let late = world.claim_one(subscription).await;
    world.clock.advance(Duration::from_mins(1));
    let current = world.claim_one(subscription).await;
    assert_eq!(world.record(&late, Outcome::Delivered).await, Recorded::Late);
    assert_eq!(world.record(&late, Outcome::Gone).await, Recorded::Late);
    let shown = world.show(id).await;
    assert_eq!(shown.notification.state, NotificationState::Delivering { until: current.lease.until() });
    assert!(shown.attempts.is_empty());
    let both = [world.result(&late, Outcome::Gone), world.result(&current, Outcome::Delivered)];
    let recorded = world.record_all(&both).await;
    assert_eq!(recorded, [Recorded::Late, Recorded::Counted]);
    assert_eq!(world.record(&current, Outcome::Delivered).await, Recorded::Late);
    let shown = world.show(id).await;
    assert_eq!((shown.notification.state.name(), shown.attempts.len()), (StateName::Delivered, 1));
    let subscription = world.store.subscription(subscription, None).await.expect("a store");
    assert_eq!(subscription.expect("it is there").state, SubscriptionState::Active);
}

pub async fn a_claim_takes_no_more_than_its_quota_oldest_first(world: World) {
    let subscription = world.subscribe("a", None).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(world.notify(subscription).await);
        world.clock.advance(Duration::from_secs(1));
    }
    let first: HashSet<_> =
        world.claim(subscription, 2).await.into_iter().map(|delivery| delivery.notification).collect();
    assert_eq!(first, expected[..2].iter().copied().collect());
    assert_eq!(world.claim(subscription, 2).await.len(), 1);
    assert!(world.claim(subscription, 2).await.is_empty());
}

pub async fn failures_climb_the_ladder_until_it_is_exhausted(world: World) {
    let subscription = world.subscribe("a", None).await;
    let id = world.notify(subscription).await;
    for (number, wait) in [(1, 60), (2, 300)] {
        let delivery = world.claim_one(subscription).await;
        assert_eq!((delivery.number, delivery.climb), (number, number - 1));
        assert_eq!(world.fail(&delivery).await, Recorded::Counted);
        let next_attempt_at = world.now() + Duration::from_secs(wait);
        assert_eq!(world.show(id).await.notification.state, NotificationState::Pending { next_attempt_at });
        world.clock.advance(Duration::from_secs(wait - 1));
        assert!(world.claim(subscription, 1).await.is_empty());
        world.clock.advance(Duration::from_secs(1));
    }
    let last = world.claim_one(subscription).await;
    world.fail(&last).await;
    let shown = world.show(id).await;
    assert_eq!(shown.notification.state, NotificationState::Exhausted { at: world.now() });
    assert_eq!(shown.notification.attempts, 3);
    world.clock.advance(Duration::from_hours(48));
    assert!(world.claim(subscription, 1).await.is_empty());
}

pub async fn next_due_tells_when_to_look_again(world: World) {
    let subscription = world.subscribe("a", None).await;
    let other = world.subscribe("b", Some("bank")).await;
    let next = async || world.store.next_due(&[subscription, other]).await.expect("a store");
    assert_eq!(next().await, []);
    world.notify(subscription).await;
    assert_eq!(next().await, [(subscription, world.now())]);
    let delivery = world.claim_one(subscription).await;
    assert_eq!(next().await, [(subscription, delivery.lease.until())]);
    world.fail(&delivery).await;
    assert_eq!(next().await, [(subscription, world.now() + Duration::from_mins(1))]);
    assert_eq!(world.store.next_due(&[other]).await.expect("a store"), []);
}

pub async fn a_subscription_that_answers_410_is_disabled_and_its_notification_held(world: World) {
    let id = world.subscribe("a", None).await;
    let notification = world.notify(id).await;
    let delivery = world.claim_one(id).await;
    assert_eq!(world.record(&delivery, Outcome::Gone).await, Recorded::Counted);
    assert_eq!(world.state(notification).await, StateName::Held);
    let subscription = world.store.subscription(id, None).await.expect("a store").expect("it is there");
    assert_eq!(subscription.state.as_str(), "disabled");
    assert!(subscription.state.disabled_reason().expect("a reason").contains("410"));
    assert_eq!(world.store.directory().await.expect("a store").active().count(), 0);
    assert!(world.claim(id, 1).await.is_empty());
    world.set_state(id, SubscriptionState::Active).await;
    let again = world.claim_one(id).await;
    assert_eq!((again.number, again.climb), (2, 0));
}

pub async fn a_410_of_an_attempt_from_before_a_change_disables_nothing(world: World) {
    let id = world.subscribe("a", None).await;
    let notification = world.notify(id).await;
    let delivery = world.claim_one(id).await;
    let late = world.result(&delivery, Outcome::Gone);
    world.clock.advance(Duration::from_secs(1));
    world.set_state(id, SubscriptionState::Active).await;
    assert_eq!(world.record_all(&[late]).await, [Recorded::Counted]);
    let subscription = world.store.subscription(id, None).await.expect("a store").expect("there");
    assert_eq!(subscription.state, SubscriptionState::Active);
    assert_eq!(world.state(notification).await, StateName::Pending);
}
