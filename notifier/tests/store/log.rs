//! The notification log and what operators do with it.

use std::time::Duration;

use notifier::domain::audit::Action;
use notifier::domain::notification::{Refused, StateName};
use notifier::domain::{NotificationId, NotificationState, Outcome, States, SubscriptionState};
use notifier::store::{NotificationFilter, Recorded};
use runtime::http::Page;

use super::world::World;

pub async fn pausing_holds_and_resuming_releases(world: World) {
    let subscription = world.subscribe("a", None).await;
    let id = world.notify(subscription).await;
    world.set_state(subscription, SubscriptionState::Paused).await;
    assert_eq!(world.state(id).await, StateName::Held);
    assert!(world.claim(subscription, 1).await.is_empty());
    let while_paused = world.notify(subscription).await;
    assert_eq!(world.state(while_paused).await, StateName::Held);
    world.set_state(subscription, SubscriptionState::Active).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    assert_eq!(world.claim(subscription, 10).await.len(), 2);
}

pub async fn a_resend_starts_the_climb_over_and_keeps_numbering(world: World) {
    let subscription = world.subscribe("a", None).await;
    let id = world.notify(subscription).await;
    for _ in 0..3 {
        world.fail(&world.claim_one(subscription).await).await;
        world.clock.advance(Duration::from_mins(5));
    }
    assert_eq!(world.state(id).await, StateName::Exhausted);
    let resent = world.resend(id).await.expect("allowed");
    assert_eq!(resent.state, NotificationState::Pending { next_attempt_at: world.now() });
    let delivery = world.claim_one(subscription).await;
    assert_eq!((delivery.number, delivery.climb), (4, 0));
    world.fail(&delivery).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    let shown = world.show(id).await;
    let numbers: Vec<_> = shown.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let [audit] = &shown.audits[..] else { panic!("one audit") };
    assert_eq!((audit.action, audit.actor.as_str()), (Action::Resend, "operator"));
    assert_eq!((audit.reason.as_deref(), audit.at), (Some("a test"), world.now()));
}

pub async fn a_resend_under_a_lease_is_refused(world: World) {
    let subscription = world.subscribe("a", None).await;
    let id = world.notify(subscription).await;
    let delivery = world.claim_one(subscription).await;
    assert_eq!(world.resend(id).await, Err(Refused::UnderWay));
    assert!(world.show(id).await.audits.is_empty());
    assert_eq!(world.record(&delivery, Outcome::Delivered).await, Recorded::Counted);
    assert!(world.resend(id).await.is_ok());
    assert_eq!(world.claim_one(subscription).await.number, 2);
    world.delete(subscription, None).await;
    assert_eq!(world.resend(id).await, Err(Refused::SubscriptionDeleted));
}

pub async fn a_cancelled_notification_stays_so_whatever_its_running_attempt_says(world: World) {
    let subscription = world.subscribe("a", None).await;
    let id = world.notify(subscription).await;
    let delivery = world.claim_one(subscription).await;
    let cancelled = world.cancel(id).await.expect("allowed");
    assert_eq!(cancelled.state, NotificationState::Cancelled { at: world.now() });
    assert_eq!(world.record(&delivery, Outcome::Delivered).await, Recorded::Late);
    assert_eq!(world.cancel(id).await, Err(Refused::Final(StateName::Cancelled)));
    let shown = world.show(id).await;
    assert_eq!((shown.notification.state.name(), shown.attempts.len()), (StateName::Cancelled, 0));
    assert_eq!(shown.audits.len(), 1);
    world.clock.advance(Duration::from_hours(1));
    assert!(world.claim(subscription, 1).await.is_empty());
}

pub async fn the_list_answers_every_filter(world: World) {
    let shop = world.subscribe("a", Some("shop")).await;
    let bank = world.subscribe("a", Some("bank")).await;
    let mut times = Vec::new();
    let mut events = Vec::new();
    for (merchant, kind, subject) in [
        ("shop", "recharge.succeeded", "tx-1"),
        ("shop", "recharge.failed", "tx-2"),
        ("bank", "recharge.failed", "tx-3"),
    ] {
        let event = world.event_of(merchant, kind, subject);
        world.ingest(std::slice::from_ref(&event)).await;
        times.push(world.now());
        events.push(event);
        world.clock.advance(Duration::from_secs(1));
    }
    let [first, second, third] = &events[..] else { unreachable!("three") };
    let [one, two, three] = [(first, shop), (second, shop), (third, bank)]
        .map(|(event, subscription)| NotificationId::of(event.key, subscription));
    world.record(&world.claim_one(shop).await, Outcome::Delivered).await;
    world.claim_one(shop).await;
    let all = NotificationFilter::default;
    let cases: Vec<(NotificationFilter, Vec<NotificationId>)> = vec![
        (all(), vec![three, two, one]),
        (NotificationFilter { owner: Some("shop".into()), ..all() }, vec![two, one]),
        (NotificationFilter { subscription: Some(bank), ..all() }, vec![three]),
        (
            NotificationFilter { event_type: Some("recharge.failed".parse().expect("a type")), ..all() },
            vec![three, two],
        ),
        (NotificationFilter { subject: Some("tx-2".into()), ..all() }, vec![two]),
        (NotificationFilter { event_id: Some(first.id.clone()), ..all() }, vec![one]),
        (NotificationFilter { created_from: Some(times[1]), ..all() }, vec![three, two]),
        (NotificationFilter { created_to: Some(times[1]), ..all() }, vec![one]),
        (NotificationFilter { states: States::of(&[StateName::Delivered]), ..all() }, vec![one]),
        (NotificationFilter { states: States::of(&[StateName::Delivering]), ..all() }, vec![two]),
        (NotificationFilter { states: States::of(&[StateName::Pending]), ..all() }, vec![three]),
        (NotificationFilter { states: States::of(&[StateName::Held]), ..all() }, vec![]),
        (NotificationFilter { states: States::of(&[StateName::Exhausted]), ..all() }, vec![]),
        (
            NotificationFilter {
                owner: Some("shop".into()),
                event_type: Some("recharge.failed".parse().expect("a type")),
                created_from: Some(times[0]),
                ..all()
            },
            vec![two],
        ),
        (NotificationFilter { owner: Some("bank".into()), subject: Some("tx-1".into()), ..all() }, vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(world.list(filter.clone()).await, expected, "{filter:?}");
    }
}

pub async fn the_list_pages_without_gap_or_repetition(world: World) {
    let subscription = world.subscribe("a", None).await;
    let events: Vec<_> = (0..9).map(|n| world.event(&format!("tx-{n}"))).collect();
    world.ingest(&events).await;
    let of_subscription = NotificationFilter { subscription: Some(subscription), ..Default::default() };
    for filter in [NotificationFilter::default(), of_subscription] {
        let walked = walk(&world, &filter, 4).await;
        assert_eq!(walked, world.list(filter).await);
        assert_eq!(walked.len(), 9);
    }
}

/// More of them than are looked at at first.
pub async fn a_list_of_one_type_goes_through_all_of_its_events(world: World) {
    let subscription = world.subscribe("a", None).await;
    let mut events = Vec::new();
    for n in 0..450 {
        let kind = if n % 3 == 0 { "recharge.failed" } else { "recharge.succeeded" };
        events.push(world.event_of("shop", kind, &format!("tx-{n}")));
        world.clock.advance(Duration::from_millis(1));
    }
    world.ingest(&events).await;
    let newest_first = |kind: &str| -> Vec<NotificationId> {
        let of_kind = events.iter().rev().filter(|event| event.kind == kind);
        of_kind.map(|event| NotificationId::of(event.key, subscription)).collect()
    };
    for kind in ["recharge.failed", "recharge.succeeded"] {
        let filter =
            NotificationFilter { event_type: Some(kind.parse().expect("a type")), ..Default::default() };
        assert_eq!(walk(&world, &filter, 100).await, newest_first(kind));
    }
}

/// Every page of a list.
pub async fn walk(world: &World, filter: &NotificationFilter, limit: u16) -> Vec<NotificationId> {
    let mut walked = Vec::new();
    let mut after = None;
    loop {
        let page = Page { limit, after };
        let mut found = world.store.notifications(filter, page, world.now()).await.expect("a store");
        let more = found.len() > usize::from(limit);
        found.truncate(usize::from(limit));
        walked.extend(found.into_iter().map(|notification| notification.id));
        if !more {
            return walked;
        }
        after = walked.last().map(|id: &NotificationId| id.0);
    }
}

pub async fn a_notification_shows_its_event_and_every_attempt(world: World) {
    let subscription = world.subscribe("a", Some("shop")).await;
    let event = world.event("tx-1");
    world.ingest(std::slice::from_ref(&event)).await;
    let id = NotificationId::of(event.key, subscription);
    let delivery = world.claim_one(subscription).await;
    let expected = world.result(&delivery, Outcome::Gone).attempt;
    world.record(&delivery, Outcome::Gone).await;
    let shown = world.show(id).await;
    assert_eq!(shown.event, event);
    assert_eq!(shown.attempts, [expected]);
    assert_eq!(shown.notification.event_id, event.id);
    assert_eq!(shown.notification.subject.as_deref(), Some("tx-1"));
    assert_eq!(shown.notification.merchant.as_deref(), Some("shop"));
}

pub async fn another_merchants_notification_is_not_there(world: World) {
    let subscription = world.subscribe("a", Some("shop")).await;
    let id = world.notify(subscription).await;
    let bank = Some("bank");
    assert!(world.store.notification(id, bank, world.now()).await.expect("a store").is_none());
    assert!(world.store.resend(id, bank, &world.audit(Action::Resend)).await.expect("a store").is_none());
    assert!(world.store.cancel(id, bank, &world.audit(Action::Cancel)).await.expect("a store").is_none());
    let shown = world.show(id).await;
    assert_eq!((shown.notification.state.name(), shown.audits.len()), (StateName::Pending, 0));
    assert!(world.store.notification(id, Some("shop"), world.now()).await.expect("a store").is_some());
}
