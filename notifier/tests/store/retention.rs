//! What is kept, for how long, and what an event is that comes again.

use std::time::Duration;

use messaging::Event;
use notifier::domain::notification::StateName;
use notifier::domain::{
    BulkAction, Day, EventRefusal, NewEvent, NotificationId, Outcome, Retention, SubscriptionState,
};
use notifier::store::{NotificationFilter, Removed};

use super::world::World;

const DAY: Duration = Duration::from_hours(24);
/// From the end of a day on until all of it may go.
const KEPT: Duration = Duration::from_hours(90 * 24 + 1);
const ALMOST_A_DAY: Duration = Duration::from_millis(24 * 60 * 60 * 1000 - 1);
const INSTANT: Duration = Duration::from_millis(1);

/// As the worker does it: makes the days about the present, then removes in small steps what is
/// older than the retention.
async fn upkeep(world: &World) -> Removed {
    let days: Vec<Day> = (-1..=3).map(|days| Day::of(world.now()).plus(days)).collect();
    world.store.prepare(&days).await.expect("a store");
    let mut all = Removed::default();
    loop {
        let removed = world.store.remove(Retention::default().end(world.now()), 2).await.expect("a store");
        all.days += removed.days;
        all.events += removed.events;
        all.notifications += removed.notifications;
        all.audits += removed.audits;
        all.bulks += removed.bulks;
        all.kept_days = removed.kept_days;
        if !removed.any_rows() {
            return all;
        }
    }
}

async fn is_there(world: &World, id: NotificationId) -> bool {
    world.store.notification(id, None, world.now()).await.expect("a store").is_some()
}

fn foreign_event(id: &str, time: &str) -> NewEvent {
    let event = serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/elsewhere", "type": "recharge.succeeded", "time": time,
        "data": {},
    });
    NewEvent::from(&Event::parse(event.to_string().as_bytes()).expect("an event"))
}

/// Law 4.
pub async fn an_event_from_before_midnight_makes_no_second_notification_after_it(world: World) {
    let subscription = world.subscribe("a", None).await;
    upkeep(&world).await;
    world.clock.advance(ALMOST_A_DAY);
    let late = world.now().to_rfc3339();
    let batch = [world.event("tx"), foreign_event("order-1", &late)];
    assert_eq!(world.ingest(&batch).await.notifications, 2);
    // Midnight; later than what is prompt; the day after; and when the log of it is gone.
    for pause in [INSTANT, Duration::from_hours(2), DAY, KEPT] {
        world.clock.advance(pause);
        let again = world.ingest(&batch).await;
        assert_eq!((again.events, again.notifications, again.refused), (0, 0, vec![]), "{}", world.now());
        upkeep(&world).await;
    }
    assert_eq!(world.claim(subscription, 10).await.len(), 2);
}

pub async fn a_day_is_kept_for_the_retention_and_not_longer(world: World) {
    let subscription = world.subscribe("a", Some("shop")).await;
    upkeep(&world).await;
    world.clock.advance(ALMOST_A_DAY);
    let ids = [world.notify(subscription).await, world.notify(subscription).await];
    for delivery in world.claim(subscription, 2).await {
        world.record(&delivery, Outcome::Delivered).await;
    }
    world.clock.advance(KEPT);
    upkeep(&world).await;
    assert!(is_there(&world, ids[0]).await && is_there(&world, ids[1]).await);
    world.clock.advance(INSTANT);
    let removed = upkeep(&world).await;
    assert_eq!(removed.kept_days, 0);
    // Whole where days can be dropped, else row by row.
    let rows = if removed.days > 0 { 0 } else { 2 };
    assert_eq!((removed.events, removed.notifications), (rows, rows));
    for id in ids {
        assert!(!is_there(&world, id).await);
    }
    let of_subscription = NotificationFilter { subscription: Some(subscription), ..Default::default() };
    for filter in [NotificationFilter::default(), of_subscription] {
        assert!(world.list(filter).await.is_empty());
    }
}

pub async fn what_waits_is_never_removed_and_its_day_stays_whole(world: World) {
    let subscription = world.subscribe("a", None).await;
    let paused = world.subscribe("b", Some("shop")).await;
    upkeep(&world).await;
    let delivered = world.notify(subscription).await;
    world.record(&world.claim_one(subscription).await, Outcome::Delivered).await;
    world.set_state(paused, SubscriptionState::Paused).await;
    let held = NotificationId::of(world.show(delivered).await.event.key, paused);
    world.clock.advance(DAY * 365);
    let removed = upkeep(&world).await;
    assert_eq!((removed.kept_days, removed.events, removed.notifications), (1, 0, 0));
    assert_eq!(world.state(held).await, StateName::Held);
    assert_eq!(world.state(delivered).await, StateName::Delivered);

    world.set_state(paused, SubscriptionState::Active).await;
    world.record(&world.claim_one(paused).await, Outcome::Delivered).await;
    assert_eq!(upkeep(&world).await.kept_days, 0);
    assert!(!is_there(&world, held).await && !is_there(&world, delivered).await);
}

pub async fn a_resent_notification_keeps_its_day_until_it_is_final_again(world: World) {
    let subscription = world.subscribe("a", None).await;
    upkeep(&world).await;
    let id = world.notify(subscription).await;
    world.record(&world.claim_one(subscription).await, Outcome::Delivered).await;
    world.clock.advance(KEPT);
    world.resend(id).await.expect("allowed");
    world.clock.advance(DAY * 2);
    assert_eq!(upkeep(&world).await.kept_days, 1);
    let delivery = world.claim_one(subscription).await;
    assert_eq!(delivery.message.id, world.show(id).await.event.id);
    world.record(&delivery, Outcome::Delivered).await;
    let removed = upkeep(&world).await;
    assert_eq!(removed.audits, 1);
    assert!(!is_there(&world, id).await);
}

/// Law 4, for ever: what can't be told from a repeat is not taken.
pub async fn an_unknown_event_from_before_what_was_removed_is_not_taken(world: World) {
    let subscription = world.subscribe("a", None).await;
    let paused = world.subscribe("b", Some("shop")).await;
    upkeep(&world).await;
    world.set_state(paused, SubscriptionState::Paused).await;
    let kept_whole = world.event("tx-1");
    world.ingest(std::slice::from_ref(&kept_whole)).await;
    world.clock.advance(DAY);
    let removed = world.event_of("bank", "recharge.failed", "tx-2");
    let never_seen = world.event("tx-3");
    world.ingest(std::slice::from_ref(&removed)).await;
    for delivery in world.claim(subscription, 10).await {
        world.record(&delivery, Outcome::Delivered).await;
    }
    world.clock.advance(DAY + KEPT);
    assert_eq!(upkeep(&world).await.kept_days, 1);
    let fresh = world.event("tx-4");
    let ancient = foreign_event("order-1", "1999-01-01T00:00:00Z");
    let batch = [kept_whole.clone(), removed.clone(), never_seen.clone(), fresh, ancient.clone()];
    for notifications in [2, 0] {
        let ingested = world.ingest(&batch).await;
        assert_eq!(ingested.refused, [1, 2, 4].map(|place| (place, EventRefusal::Expired)));
        assert_eq!(ingested.notifications, notifications);
    }
    assert!(!is_there(&world, NotificationId::of(removed.key, subscription)).await);
    assert!(is_there(&world, NotificationId::of(kept_whole.key, subscription)).await);
}

pub async fn old_events_are_delivered_on_a_fresh_database_and_kept_from_their_arrival(world: World) {
    let subscription = world.subscribe("a", None).await;
    let times = ["1999-01-01T00:00:00Z", "2025-06-01T12:00:00Z", "2999-01-01T00:00:00Z"];
    let events = times.map(|time| foreign_event(time, time));
    world.clock.advance(Duration::from_hours(12));
    upkeep(&world).await;
    assert_eq!(world.ingest(&events).await.notifications, 3);
    let claimed = world.claim(subscription, 3).await;
    assert_eq!(claimed.len(), 3);
    for delivery in claimed {
        world.record(&delivery, Outcome::Delivered).await;
    }
    let [first, second, third] = events.each_ref().map(|event| NotificationId::of(event.key, subscription));
    for (pause, left) in [(DAY * 90, vec![third, second, first]), (Duration::from_mins(1), vec![third])] {
        world.clock.advance(pause);
        upkeep(&world).await;
        assert_eq!(world.list(NotificationFilter::default()).await, left);
    }
    let again = world.ingest(&events).await;
    assert_eq!((again.events, again.refused), (0, [0, 1].map(|place| (place, EventRefusal::Expired)).into()));
}

pub async fn finished_replays_go_after_the_retention_and_running_ones_stay(world: World) {
    let subscription = world.subscribe("a", None).await;
    world.notify(subscription).await;
    let finished = world.start_replay(subscription).await;
    assert_eq!(world.step(10).await.changed, 1);
    let running = world.start_replay(subscription).await;
    world.clock.advance(DAY * 90);
    assert_eq!(upkeep(&world).await.bulks, 0);
    world.clock.advance(INSTANT);
    assert_eq!(upkeep(&world).await.bulks, 1);
    assert!(world.shown(BulkAction::Replay, finished).await.is_none());
    assert!(world.shown(BulkAction::Replay, running).await.is_some());
}

pub async fn a_replay_of_what_is_gone_resends_what_is_left_of_it(world: World) {
    let subscription = world.subscribe("a", None).await;
    upkeep(&world).await;
    let gone = world.notify(subscription).await;
    world.record(&world.claim_one(subscription).await, Outcome::Delivered).await;
    world.clock.advance(DAY * 2);
    let left = world.notify(subscription).await;
    world.record(&world.claim_one(subscription).await, Outcome::Delivered).await;
    world.start_replay(subscription).await;
    world.clock.advance(KEPT.saturating_sub(DAY));
    upkeep(&world).await;
    assert!(!is_there(&world, gone).await);
    assert_eq!(world.step(10).await.changed, 1);
    assert_eq!(world.claim_one(subscription).await.notification, left);
}

pub async fn a_list_by_arrival_finds_what_came_in_late_or_early(world: World) {
    let subscription = world.subscribe("a", None).await;
    upkeep(&world).await;
    let began = world.now();
    let id = |event: &NewEvent| NotificationId::of(event.key, subscription);
    let late = world.event("late");
    let early = foreign_event("early", "2026-06-01T00:00:00Z");
    let prompt = world.event("prompt");
    world.ingest(std::slice::from_ref(&prompt)).await;
    world.clock.advance(DAY * 10);
    let came = world.now();
    world.ingest(&[late.clone(), early.clone()]).await;
    world.clock.advance(DAY);
    let now = world.event("now");
    world.ingest(std::slice::from_ref(&now)).await;
    let list = async |from, to| {
        world.list(NotificationFilter { created_from: from, created_to: to, ..Default::default() }).await
    };
    assert_eq!(list(Some(came), Some(came + DAY)).await, [id(&early), id(&late)]);
    assert_eq!(list(Some(came), None).await, [id(&early), id(&now), id(&late)]);
    assert_eq!(list(None, Some(came)).await, [id(&prompt)]);
    assert_eq!(list(Some(began), Some(began + INSTANT)).await, [id(&prompt)]);
    assert_eq!(list(Some(came + INSTANT), Some(came + DAY)).await, []);
}
