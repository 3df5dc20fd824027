//! Resending and cancelling many notifications.

use std::time::Duration;

use notifier::domain::audit::Action;
use notifier::domain::notification::StateName;
use notifier::domain::{
    Bulk, BulkAction, BulkFilter, Delivery, FailureClass, LimitReached, NewEvent, NotificationId, Outcome,
    Preview, States, SubscriptionId,
};
use notifier::store::{BulksFilter, NotificationFilter, Recorded};
use runtime::http::Page;

use super::world::World;

/// So many events, a second apart; their notifications.
async fn notify(
    world: &World,
    subscription: SubscriptionId,
    count: usize,
    kind: &str,
) -> Vec<NotificationId> {
    let mut events: Vec<NewEvent> = Vec::new();
    for _ in 0..count {
        events.push(world.event_of("shop", kind, "tx"));
        world.clock.advance(Duration::from_secs(1));
    }
    world.ingest(&events).await;
    events.iter().map(|event| NotificationId::of(event.key, subscription)).collect()
}

pub async fn a_replay_resends_what_matches_in_batches_and_says_so_in_the_audit(world: World) {
    let subscription = world.subscribe("a", None).await;
    let ids = notify(&world, subscription, 5, "recharge.failed").await;
    for delivery in world.claim(subscription, 5).await {
        world.record(&delivery, Outcome::Delivered).await;
    }
    let pending = world.notify(subscription).await;
    let delivered = States::of(&[StateName::Delivered]);
    let filter = BulkFilter { states: delivered, ..BulkFilter::all(BulkAction::Replay, subscription) };
    let id = world.start(BulkAction::Replay, filter.clone()).await;
    for resent in [2, 2, 1] {
        assert_eq!(world.step(2).await.changed, resent);
    }
    assert!(!world.step(2).await.more);
    let done = world.shown(BulkAction::Replay, id).await.expect("there");
    assert_eq!((done.matched, done.changed, done.finished_at), (5, 5, Some(world.now())));
    assert_eq!((done.filter, done.actor.as_str()), (filter, "operator"));
    assert!(world.store.bulk(BulkAction::Replay, id, Some("shop")).await.expect("a store").is_none());
    let shown = world.show(ids[0]).await;
    let [audit] = &shown.audits[..] else { panic!("one audit") };
    assert_eq!((shown.notification.state.name(), audit.action), (StateName::Pending, Action::Replay));
    assert_eq!(audit.reason, Some(format!("replay {id}: a test")));
    assert!(world.show(pending).await.audits.is_empty());
    assert_eq!(world.claim(subscription, 10).await.len(), 6);
}

pub async fn a_cancellation_ends_what_waits_also_under_a_lease_and_nothing_else(world: World) {
    let subscription = world.subscribe("a", None).await;
    let other = world.subscribe("b", None).await;
    let ids = notify(&world, subscription, 4, "recharge.failed").await;
    let delivered = world.claim_one(subscription).await;
    world.record(&delivered, Outcome::Delivered).await;
    let under_way = world.claim_one(subscription).await;
    let all = BulkFilter::all(BulkAction::Cancellation, subscription);
    let id = world.start(BulkAction::Cancellation, all).await;
    world.clock.advance(Duration::from_secs(1));
    let later = world.notify(subscription).await;
    while world.step(2).await.more {}
    assert_eq!(world.record(&under_way, Outcome::Delivered).await, Recorded::Late);
    for id in ids {
        let wanted = if id == delivered.notification { StateName::Delivered } else { StateName::Cancelled };
        let shown = world.show(id).await;
        assert_eq!(shown.notification.state.name(), wanted);
        assert_eq!(shown.audits.len(), usize::from(wanted == StateName::Cancelled));
    }
    assert_eq!(world.state(later).await, StateName::Pending, "it came in after it was asked for");
    assert_eq!(world.claim(other, 10).await.len(), 5);
    let done = world.shown(BulkAction::Cancellation, id).await.expect("there");
    assert_eq!((done.matched, done.changed, done.finished_at.is_some()), (3, 3, true));
    assert!(world.shown(BulkAction::Replay, id).await.is_none());
}

pub async fn a_bulk_does_it_to_what_every_filter_matches_and_nothing_else(world: World) {
    let subscription = world.subscribe("a", None).await;
    let mut wanted = Vec::new();
    let mut began = world.now();
    for round in 0..3 {
        let failed = notify(&world, subscription, 1, "recharge.failed").await;
        world.record(&world.claim_one(subscription).await, Outcome::Failed(FailureClass::Dns)).await;
        let of_other_class = notify(&world, subscription, 1, "recharge.failed").await;
        world.record(&world.claim_one(subscription).await, Outcome::Failed(FailureClass::Tls)).await;
        let of_other_type = notify(&world, subscription, 1, "recharge.closed.late").await;
        world.record(&world.claim_one(subscription).await, Outcome::Failed(FailureClass::Dns)).await;
        assert_eq!(of_other_class.len() + of_other_type.len(), 2);
        if round == 0 {
            began = world.now();
        } else {
            wanted.extend(failed);
        }
    }
    let filter = BulkFilter {
        states: States::UNDELIVERED,
        event_type: Some("recharge.failed".parse().expect("a type")),
        failure_classes: vec![FailureClass::Dns, FailureClass::Proxy],
        created_from: Some(began),
        ..BulkFilter::all(BulkAction::Replay, subscription)
    };
    let id = world.start(BulkAction::Replay, filter).await;
    while world.step(1).await.more {}
    assert_eq!(world.shown(BulkAction::Replay, id).await.expect("there").changed, 2);
    let mut due: Vec<_> = world.claim(subscription, 10).await.iter().map(|one| one.notification).collect();
    due.sort_unstable();
    assert_eq!(due, wanted);
}

pub async fn bulks_take_turns(world: World) {
    let [one, other] = [world.subscribe("a", None).await, world.subscribe("b", None).await];
    notify(&world, one, 6, "recharge.failed").await;
    let first = world.start_replay(one).await;
    world.step(2).await;
    let all = BulkFilter::all(BulkAction::Cancellation, other);
    let later = world.start(BulkAction::Cancellation, all).await;
    let changed = async || {
        let first = world.shown(BulkAction::Replay, first).await.expect("there").changed;
        (first, world.shown(BulkAction::Cancellation, later).await.expect("there").changed)
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        world.step(1).await;
        seen.push(changed().await);
    }
    assert_eq!(seen, [(2, 1), (3, 1), (3, 2), (4, 2)]);
    while world.step(10).await.more {}
    assert_eq!(changed().await, (6, 6));
}

/// More than one step looks at, of which the last ones match.
pub async fn a_step_is_short_where_little_matches(world: World) {
    let subscription = world.subscribe("a", None).await;
    let events: Vec<_> = (0..2100).map(|_| world.event("tx")).collect();
    for events in events.chunks(500) {
        world.ingest(events).await;
    }
    world.clock.advance(Duration::from_secs(1));
    let last = notify(&world, subscription, 1, "recharge.closed").await;
    let filter = BulkFilter {
        event_type: Some("recharge.closed".parse().expect("a type")),
        ..BulkFilter::all(BulkAction::Cancellation, subscription)
    };
    world.start(BulkAction::Cancellation, filter).await;
    assert_eq!(world.step(10).await.changed, 0, "it has not come to it yet");
    assert_eq!(world.step(10).await.changed, 1);
    assert_eq!(world.state(last[0]).await, StateName::Cancelled);
    assert!(!world.step(10).await.more);
}

pub async fn bulks_of_a_kind_are_listed_newest_first(world: World) {
    let subscription = world.subscribe("a", None).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.start_replay(subscription).await);
    }
    let cancellation =
        world.start(BulkAction::Cancellation, BulkFilter::all(BulkAction::Cancellation, subscription)).await;
    let list = async |action, owner: Option<&str>, page| -> Vec<_> {
        let filter =
            BulksFilter { action, owner: owner.map(str::to_owned), subscription: Some(subscription) };
        let found = world.store.bulks(&filter, page).await.expect("a store");
        found.into_iter().map(|bulk| bulk.id).collect()
    };
    let page = |after| Page { limit: 1, after };
    assert_eq!(list(BulkAction::Replay, None, page(None)).await, [ids[2], ids[1]]);
    assert_eq!(list(BulkAction::Replay, None, page(Some(ids[1]))).await, [ids[0]]);
    assert_eq!(list(BulkAction::Cancellation, None, page(None)).await, [cancellation]);
    assert!(list(BulkAction::Replay, Some("shop"), page(None)).await.is_empty());
}

/// Laws 7 and 10.
pub async fn a_merchant_runs_no_more_bulk_actions_than_its_limit_and_a_finished_one_makes_room(world: World) {
    let subscription = world.subscribe("a", Some("shop")).await;
    let start = async |merchant: Option<&str>| {
        let filter = BulkFilter::all(BulkAction::Replay, subscription);
        let bulk = Bulk { merchant: merchant.map(str::to_owned), ..world.bulk(BulkAction::Replay, filter) };
        world.store.create_bulk(&bulk, 2).await.expect("a store")
    };
    for merchant in [Some("shop"), None] {
        assert_eq!((start(merchant).await, start(merchant).await), (Ok(()), Ok(())));
        assert_eq!(start(merchant).await, Err(LimitReached::BulkActions(2)));
    }
    while world.step(10).await.more {}
    assert_eq!(start(Some("shop")).await, Ok(()));
}

/// Several processes at once.
pub async fn bulk_actions_created_at_the_same_time_never_pass_the_limit(world: World) {
    let subscription = world.subscribe("a", None).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let filter = BulkFilter::all(BulkAction::Replay, subscription);
            let bulk = Bulk { merchant: Some("shop".into()), ..world.bulk(BulkAction::Replay, filter) };
            let store = world.store.clone();
            tokio::spawn(async move { store.create_bulk(&bulk, 3).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.expect("no panic").expect("a store").is_ok());
    }
    assert_eq!(made, 3);
}

/// Law 7. Also where the busy merchant starts another one whenever one of its is done.
pub async fn merchants_take_turns_however_many_bulk_actions_one_of_them_runs(world: World) {
    let [busy, quiet] = [world.subscribe("a", Some("shop")).await, world.subscribe("b", None).await];
    notify(&world, quiet, 6, "recharge.failed").await;
    let start = async |merchant: Option<&str>, subscription| {
        let filter = BulkFilter::all(BulkAction::Replay, subscription);
        let bulk = Bulk { merchant: merchant.map(str::to_owned), ..world.bulk(BulkAction::Replay, filter) };
        world.store.create_bulk(&bulk, 100).await.expect("a store").expect("room");
        bulk.id
    };
    for _ in 0..5 {
        start(Some("shop"), busy).await;
    }
    let of_quiet = start(None, quiet).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        world.step(1).await;
        start(Some("shop"), busy).await;
        world.step(1).await;
        seen.push(world.shown(BulkAction::Replay, of_quiet).await.expect("there").changed);
    }
    assert_eq!(seen, [1, 2, 3, 4], "every second step");
}

/// All that `action` can do something to, of every subscription.
fn of_all(action: BulkAction) -> BulkFilter {
    BulkFilter { subscription: None, ..BulkFilter::all(action, SubscriptionId(uuid::Uuid::nil())) }
}

/// A fresh notification, claimed; nothing else of the subscription, which hears of `kind` alone, may be due.
async fn claim_new(world: &World, id: SubscriptionId, kind: &str) -> Delivery {
    let [notification] = notify(world, id, 1, kind).await[..] else { unreachable!("one") };
    let claimed = world.claim_one(id).await;
    assert_eq!(claimed.notification, notification);
    claimed
}

/// Of each of three subscriptions two exhausted, three delivered, one cancelled and one that waits. The last one is
/// deleted.
async fn some_of_each(world: &World) -> [SubscriptionId; 3] {
    let mut ids = Vec::new();
    for kind in ["recharge.a", "recharge.b", "recharge.c"] {
        let id = world.subscribe_to(kind, None, &[kind]).await;
        for _ in 0..2 {
            world.fail(&claim_new(world, id, kind).await).await;
            for _ in 0..2 {
                world.clock.advance(Duration::from_mins(6));
                world.fail(&world.claim_one(id).await).await;
            }
        }
        for _ in 0..3 {
            world.record(&claim_new(world, id, kind).await, Outcome::Delivered).await;
        }
        world.cancel(claim_new(world, id, kind).await.notification).await.expect("it waits");
        notify(world, id, 1, kind).await;
        ids.push(id);
    }
    world.delete(ids[2], None).await;
    ids.try_into().expect("three")
}

pub async fn a_replay_of_every_subscription_resends_what_matches_of_each_oldest_first(world: World) {
    let [one, other, deleted] = some_of_each(&world).await;
    let states = |states: &[StateName]| States::of(states);
    for (states, each) in [
        (states(&[StateName::Exhausted]), 2),
        (states(&[StateName::Delivered, StateName::Cancelled]), 4),
        (states(&[StateName::Pending]), 7),
        (States::ALL, 7),
    ] {
        let before = world.now();
        world.clock.advance(Duration::from_secs(1));
        let filter = BulkFilter { states, ..of_all(BulkAction::Replay) };
        let id = world.start(BulkAction::Replay, filter.clone()).await;
        assert_eq!(world.step(3).await.changed, 3);
        while world.step(3).await.more {}
        let done = world.shown(BulkAction::Replay, id).await.expect("there");
        assert_eq!((done.matched, done.changed, &done.filter), (2 * each, 2 * each, &filter), "{states}");
        assert_eq!(done.merchant, None);
        let page = NotificationFilter { states: States::of(&[StateName::Pending]), ..Default::default() };
        let found =
            world.store.notifications(&page, super::world::FIRST_PAGE, world.now()).await.expect("a store");
        for id in [one, other] {
            let resent = found.iter().filter(|found| found.subscription == id && found.updated_at > before);
            assert_eq!(resent.count() as u64, each, "{states}");
        }
        assert!(found.iter().all(|found| found.subscription != deleted));
    }
}

pub async fn a_look_finds_what_a_replay_would_resend_and_changes_nothing(world: World) {
    let [one, other, _] = some_of_each(&world).await;
    let exhausted = States::of(&[StateName::Exhausted]);
    let all = world.list(NotificationFilter::default()).await;
    for (filter, expected) in [
        (of_all(BulkAction::Replay), vec![(one, 7), (other, 7)]),
        (BulkFilter { states: exhausted, ..of_all(BulkAction::Replay) }, vec![(one, 2), (other, 2)]),
        (BulkFilter { states: exhausted, ..BulkFilter::all(BulkAction::Replay, other) }, vec![(other, 2)]),
    ] {
        let bulk = world.bulk(BulkAction::Replay, filter);
        let (mut preview, mut cursor) = (Preview::default(), None);
        loop {
            let look = world.store.look_for_bulk(&bulk, cursor, 3, world.now()).await.expect("a store");
            preview.add(look.found);
            cursor = look.cursor;
            if cursor.is_none() {
                break;
            }
        }
        let found: Vec<_> = preview.subscriptions.iter().map(|(id, found)| (*id, found.matched)).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(world.list(NotificationFilter::default()).await, all);
    let pending = NotificationFilter { states: States::of(&[StateName::Pending]), ..Default::default() };
    assert_eq!(world.list(pending).await.len(), 2);
}
