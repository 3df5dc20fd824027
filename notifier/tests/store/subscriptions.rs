//! Subscriptions and their secrets.

use std::time::Duration;

use messaging::webhook::Scheme;
use notifier::domain::notification::{Refused, StateName};
use notifier::domain::subscription::{Draft, Patch};
use notifier::domain::{
    LimitReached, NotificationState, Outcome, States, Subscription, SubscriptionAction, SubscriptionId,
    SubscriptionState,
};
use notifier::store::{NameTaken, NotificationFilter, PatchRefused, Recorded, SubscriptionFilter};
use runtime::http::Page;

use super::world::{FIRST_PAGE, LIMIT, World};

async fn find(world: &World, id: SubscriptionId, owner: Option<&str>) -> Option<Subscription> {
    world.store.subscription(id, owner).await.expect("a store")
}

async fn rename(
    world: &World,
    id: SubscriptionId,
    name: &str,
    owner: Option<&str>,
) -> Option<Result<Subscription, PatchRefused>> {
    let patch = Patch { name: Some(name.into()), ..Patch::default() };
    world.store.patch(id, owner, &patch, &world.deed(SubscriptionAction::Change)).await.expect("a store")
}

pub async fn a_subscription_comes_back_as_it_was_made(world: World) {
    let draft = Draft {
        description: Some("for orders".into()),
        ack: serde_json::from_str(r#"{"json":{"pointer":"/code","equals":"SUCCESS"}}"#).expect("a rule"),
        timeout: "2500ms".parse().expect("a duration"),
        rate_limit: Some(7),
        headers: [("x-tenant".to_owned(), "7".to_owned())].into(),
        ..World::draft("orders")
    };
    let subscription = world.unsaved(draft, Some("shop"));
    let made = world
        .store
        .create(&subscription, &World::key(1), &world.deed(SubscriptionAction::Create), LIMIT)
        .await
        .expect("a store");
    made.expect("the name is free");
    assert_eq!(find(&world, subscription.id, None).await, Some(subscription.clone()));
    let directory = world.store.directory().await.expect("a store");
    let endpoint = &directory.get(subscription.id).expect("an entry").endpoint;
    assert_eq!(endpoint.headers, [("x-tenant".to_owned(), "7".to_owned())]);
    assert_eq!(endpoint.timeout.get(), Duration::from_millis(2500));
    assert!(endpoint.live_keys(world.now()).eq([&World::key(1)]));
}

pub async fn a_name_is_taken_once_per_merchant_and_free_after_deletion(world: World) {
    let first = world.subscribe("orders", Some("shop")).await;
    world.subscribe("orders", Some("bank")).await;
    world.subscribe("orders", None).await;
    let other = world.subscribe("other", Some("shop")).await;
    let again = world.unsaved(World::draft("orders"), Some("shop"));
    let create = async || {
        world
            .store
            .create(&again, &World::key(1), &world.deed(SubscriptionAction::Create), LIMIT)
            .await
            .expect("a store")
    };
    assert_eq!(create().await, Err(NameTaken.into()));
    let renamed = rename(&world, other, "orders", None).await.expect("it is there");
    assert_eq!(renamed, Err(PatchRefused::NameTaken(NameTaken)));
    assert_eq!(find(&world, other, None).await.expect("it is there").definition.draft().name, "other");
    assert!(rename(&world, first, "orders", None).await.expect("it is there").is_ok());
    assert!(world.delete(first, None).await);
    assert_eq!(create().await, Ok(()));
}

pub async fn another_merchants_subscription_is_not_there(world: World) {
    let id = world.subscribe("orders", Some("shop")).await;
    let operators = world.subscribe("all", None).await;
    let bank = Some("bank");
    for id in [id, operators] {
        assert_eq!(find(&world, id, bank).await, None);
        assert_eq!(rename(&world, id, "mine", bank).await, None);
        assert!(!world.delete(id, bank).await);
        assert_eq!(world.rotate(id, bank, Scheme::V1, 2, world.now()).await, None);
    }
    assert!(find(&world, id, Some("shop")).await.is_some());
    assert!(find(&world, operators, None).await.is_some());
}

pub async fn lists_page_newest_first(world: World) {
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(world.subscribe(&format!("s{n}"), Some("shop")).await);
    }
    let other = world.subscribe("other", Some("bank")).await;
    made.reverse();
    let list = async |filter: &SubscriptionFilter, page| {
        let found = world.store.subscriptions(filter, page).await.expect("a store");
        found.into_iter().map(|subscription| subscription.id).collect::<Vec<_>>()
    };
    let shop = SubscriptionFilter { merchant: Some("shop".into()), name: None };
    assert_eq!(list(&shop, FIRST_PAGE).await, made);
    assert_eq!(list(&shop, Page { limit: 1, after: Some(made[1].0) }).await, made[2..4]);
    assert_eq!(list(&SubscriptionFilter::default(), FIRST_PAGE).await[0], other);
    let named = SubscriptionFilter { merchant: None, name: Some("s3".into()) };
    assert_eq!(list(&named, FIRST_PAGE).await, [made[1]]);
}

pub async fn a_change_reaches_the_directory(world: World) {
    let id = world.subscribe("orders", None).await;
    let entry = async || world.store.directory().await.expect("a store").get(id).cloned();
    assert!(entry().await.expect("an entry").active);
    world.set_state(id, SubscriptionState::Paused).await;
    assert!(!entry().await.expect("an entry").active);
    let patch = Patch { max_in_flight: Some(3), url: Some("http://new.example/".into()), ..Patch::default() };
    let patched =
        world.store.patch(id, None, &patch, &world.deed(SubscriptionAction::Change)).await.expect("a store");
    assert!(patched.expect("it is there").is_ok());
    let endpoint = entry().await.expect("an entry").endpoint;
    assert_eq!((endpoint.max_in_flight, endpoint.url.as_str()), (3, "http://new.example/"));
    world.delete(id, None).await;
    assert!(entry().await.is_none());
}

pub async fn deleting_cancels_what_was_pending(world: World) {
    let id = world.subscribe("a", None).await;
    let done = world.notify(id).await;
    world.record(&world.claim_one(id).await, Outcome::Delivered).await;
    let running = world.notify(id).await;
    let delivery = world.claim_one(id).await;
    let waiting = world.notify(id).await;
    let deleted_at = world.now();
    assert!(world.delete(id, None).await);
    assert_eq!(find(&world, id, None).await, None);
    world.clock.advance(Duration::from_secs(1));
    let cancelled = NotificationFilter { states: States::of(&[StateName::Cancelled]), ..Default::default() };
    // At once and, moved in batches, for ever.
    for moved in [1, 1, 0] {
        assert_eq!(world.state(done).await, StateName::Delivered);
        for gone in [running, waiting] {
            let state = world.show(gone).await.notification.state;
            assert_eq!(state, NotificationState::Cancelled { at: deleted_at });
            assert_eq!(world.cancel(gone).await, Err(Refused::Final(StateName::Cancelled)));
        }
        assert_eq!(world.list(cancelled.clone()).await, [waiting, running]);
        assert_eq!(world.record(&delivery, Outcome::Delivered).await, Recorded::Late);
        assert_eq!(world.store.move_cancelled(1).await.expect("a store"), moved);
    }
    assert_eq!(world.ingest(&[world.event("tx")]).await.notifications, 0);
    assert!(!world.delete(id, None).await);
}

/// Laws 7 and 10.
pub async fn a_merchant_has_no_more_subscriptions_than_its_limit_and_others_are_not_concerned(world: World) {
    let create = async |name: &str, merchant| {
        let subscription = world.unsaved(World::draft(name), merchant);
        let deed = world.deed(SubscriptionAction::Create);
        let made = world.store.create(&subscription, &World::key(1), &deed, 2).await.expect("a store");
        made.map(|()| subscription.id)
    };
    let reached = Err(LimitReached::Subscriptions(2).into());
    for merchant in [Some("shop"), None] {
        let first = create("one", merchant).await.expect("room");
        create("two", merchant).await.expect("room");
        assert_eq!(create("three", merchant).await, reached);
        assert_eq!(create("two", merchant).await, Err(NameTaken.into()), "the name is the better reason");
        assert!(world.delete(first, None).await);
        create("three", merchant).await.expect("a deleted one makes room");
        assert_eq!(create("four", merchant).await, reached);
    }
    assert_eq!(world.store.directory().await.expect("a store").active().count(), 4);
}

/// Several processes at once.
pub async fn subscriptions_created_at_the_same_time_never_pass_the_limit(world: World) {
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let subscription = world.unsaved(World::draft(&format!("s{number}")), Some("shop"));
            let (store, deed) = (world.store.clone(), world.deed(SubscriptionAction::Create));
            tokio::spawn(async move { store.create(&subscription, &World::key(1), &deed, 3).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.expect("no panic").expect("a store").is_ok());
    }
    assert_eq!(made, 3);
}

pub async fn a_subscription_is_found_by_its_name_and_whose_it_is(world: World) {
    let of_shop = world.subscribe("orders", Some("shop")).await;
    let of_bank = world.subscribe("orders", Some("bank")).await;
    let of_operator = world.subscribe("orders", None).await;
    let named = async |merchant, name| world.store.subscription_named(merchant, name).await.expect("a store");
    assert_eq!(named(Some("shop"), "orders").await, Some(of_shop));
    assert_eq!(named(Some("bank"), "orders").await, Some(of_bank));
    assert_eq!(named(None, "orders").await, Some(of_operator));
    for (merchant, name) in [(Some("shop"), "order"), (Some("store"), "orders"), (None, "")] {
        assert_eq!(named(merchant, name).await, None, "{merchant:?} {name}");
    }
    world.delete(of_shop, None).await;
    assert_eq!(named(Some("shop"), "orders").await, None);
    let again = world.subscribe("orders", Some("shop")).await;
    assert_eq!(named(Some("shop"), "orders").await, Some(again));
}
