//! How many notifications each subscription has in each state.

use std::time::Duration;

use messaging::Event;
use notifier::domain::notification::StateName;
use notifier::domain::{
    Count, Counts, NewEvent, NotificationId, Outcome, States, SubscriptionCounts, SubscriptionId,
    SubscriptionState, Undelivered,
};
use notifier::store::{CountsFilter, NotificationFilter};
use runtime::http::Page;

use super::world::{FIRST_PAGE, World};

const CAP: u32 = 100;

async fn listed(world: &World, filter: CountsFilter, cap: u32) -> Vec<SubscriptionCounts> {
    world.store.counts(&filter, FIRST_PAGE, cap, world.now()).await.expect("a store")
}

async fn counts_of(world: &World, id: SubscriptionId, cap: u32) -> Counts {
    let filter = CountsFilter { subscription: Some(id), ..CountsFilter::default() };
    let listed = listed(world, filter, cap).await;
    let [one] = &listed[..] else { panic!("one subscription: {listed:?}") };
    assert_eq!(one.id, id);
    one.counts
}

fn exactly(counted: u32) -> Count {
    Count { counted, capped: false }
}

/// At least so many.
fn at_least(counted: u32) -> Count {
    Count { counted, capped: true }
}

/// Puts so many notifications into each state; a failure goes up the ladder and comes due again.
async fn fill(world: &World, id: SubscriptionId) {
    world.notify(id).await;
    for _ in 0..3 {
        world.fail(&world.claim_one(id).await).await;
        world.clock.advance(Duration::from_mins(6));
    }
    for _ in 0..2 {
        let cancelled = world.notify(id).await;
        world.cancel(cancelled).await.expect("it waits");
    }
    for _ in 0..3 {
        world.notify(id).await;
        world.record(&world.claim_one(id).await, Outcome::Delivered).await;
    }
    // One fails and comes due again: an attempt of a retry and two of first attempts are under way.
    world.notify(id).await;
    world.fail(&world.claim_one(id).await).await;
    world.clock.advance(Duration::from_mins(6));
    for _ in 0..6 {
        world.notify(id).await;
    }
    assert_eq!(world.claim(id, 3).await.len(), 3);
}

pub async fn every_state_of_a_subscription_is_counted(world: World) {
    let other = world.subscribe_to("other", None, &["order.*"]).await;
    let id = world.subscribe("orders", None).await;
    fill(&world, id).await;
    world.ingest(&[world.event_of("shop", "order.paid", "tx")]).await;
    let expected = Counts {
        pending: exactly(4),
        delivering: exactly(3),
        held: exactly(0),
        exhausted: exactly(1),
        cancelled: exactly(2),
        delivered: exactly(3),
    };
    assert_eq!(counts_of(&world, id, CAP).await, expected);
    assert_eq!(counts_of(&world, other, CAP).await, Counts { pending: exactly(1), ..Counts::default() });
    // As the lists say.
    for state in StateName::ALL {
        let states = States::of(&[state]);
        let filter = NotificationFilter { states, subscription: Some(id), ..NotificationFilter::default() };
        let listed = world.list(filter).await.len();
        assert_eq!(listed, expected.of(state).counted as usize, "{states}");
    }
    world.clock.advance(Duration::from_hours(1));
    let lost = counts_of(&world, id, CAP).await;
    assert_eq!((lost.pending, lost.delivering), (exactly(7), exactly(0)), "their leases are over");
}

pub async fn what_waits_for_a_subscription_that_is_not_active_is_counted_as_held(world: World) {
    let id = world.subscribe("orders", None).await;
    fill(&world, id).await;
    let active = counts_of(&world, id, CAP).await;
    let disabled = SubscriptionState::Disabled { reason: "gone".into() };
    for state in [SubscriptionState::Paused, disabled, SubscriptionState::Active] {
        world.set_state(id, state.clone()).await;
        let shown = listed(&world, CountsFilter::default(), CAP).await.remove(0);
        assert_eq!(shown.state, state);
        let expected = match state {
            SubscriptionState::Active => active,
            _ => Counts { pending: exactly(0), held: exactly(4), ..active },
        };
        assert_eq!(shown.counts, expected);
    }
}

pub async fn a_count_that_stops_at_the_cap_says_so(world: World) {
    let id = world.subscribe("orders", None).await;
    fill(&world, id).await;
    let at_two = counts_of(&world, id, 2).await;
    let expected = Counts {
        pending: at_least(2),
        delivering: at_least(2),
        held: exactly(0),
        exhausted: exactly(1),
        cancelled: exactly(2),
        delivered: at_least(2),
    };
    assert_eq!(at_two, expected);
    let capped: Vec<_> = at_two.capped().collect();
    assert_eq!(capped, [StateName::Pending, StateName::Delivering, StateName::Delivered]);
    let at_three = counts_of(&world, id, 3).await;
    assert_eq!((at_three.pending, at_three.delivered), (at_least(3), exactly(3)));
    world.set_state(id, SubscriptionState::Paused).await;
    let held = counts_of(&world, id, 3).await;
    assert_eq!((held.pending, held.held), (exactly(0), at_least(3)));
}

pub async fn counts_page_as_subscriptions_do_and_show_an_owner_its_own(world: World) {
    let shop = world.subscribe("orders", Some("shop")).await;
    let bank = world.subscribe("orders", Some("bank")).await;
    let operators = world.subscribe("all", None).await;
    let deleted = world.subscribe("old", Some("shop")).await;
    world.notify(shop).await;
    assert!(world.delete(deleted, Some("shop")).await);
    let ids = async |owner: Option<&str>, subscription| {
        let filter = CountsFilter { owner: owner.map(str::to_owned), subscription };
        listed(&world, filter, CAP).await.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None).await, [operators, bank, shop]);
    assert_eq!(ids(Some("shop"), None).await, [shop]);
    assert_eq!(ids(Some("shop"), Some(shop)).await, [shop]);
    for (owner, id) in [(Some("shop"), bank), (Some("shop"), operators), (None, deleted)] {
        assert!(ids(owner, Some(id)).await.is_empty());
    }
    let one = listed(&world, CountsFilter { owner: Some("shop".into()), subscription: None }, CAP).await;
    assert_eq!((one[0].name.as_str(), one[0].merchant.as_deref()), ("orders", Some("shop")));
    assert_eq!(one[0].counts, Counts { pending: exactly(1), ..Counts::default() });
    let page = Page { limit: 1, after: Some(operators.0) };
    let next = world.store.counts(&CountsFilter::default(), page, CAP, world.now()).await.expect("a store");
    let next: Vec<_> = next.into_iter().map(|one| one.id).collect();
    assert_eq!(next, [bank, shop], "a page, and one that tells that there is another");
}

pub async fn what_is_not_delivered_is_added_up_by_currency_with_the_time_of_the_oldest(world: World) {
    let id = world.subscribe_to("a", Some("shop"), &["*"]).await;
    let paid = |kind: &str, amount: i64, currency: &str| {
        let data = serde_json::json!({ "amount": amount, "currency": currency, "attach": "\0" });
        let event = Event::new(world.sources.ids.next(), "/pay-service", kind, world.now(), &data);
        NewEvent::from(&event.expect("an event").about("tx", "shop"))
    };
    assert_eq!(world.store.undelivered(id).await.expect("a store"), Undelivered::default());
    world.ingest(&[paid("recharge.succeeded", 1, "CNY")]).await;
    world.record(&world.claim_one(id).await, Outcome::Delivered).await;
    let oldest = world.now();
    world.ingest(&[paid("recharge.succeeded", 20, "CNY")]).await;
    for _ in 0..3 {
        world.fail(&world.claim_one(id).await).await;
        world.clock.advance(Duration::from_mins(6));
    }
    world.ingest(&[paid("recharge.succeeded", 300, "CNY"), paid("order.paid", 7, "USD")]).await;
    world.ingest(&[world.event_of("shop", "order.seen", "tx")]).await;
    let large = serde_json::json!({ "amount": 1, "currency": "CNY", "text": "x".repeat(20_000) });
    let cancelled = paid("recharge.succeeded", 4_000, "CNY");
    world.ingest(std::slice::from_ref(&cancelled)).await;
    world.cancel(NotificationId::of(cancelled.key, id)).await.expect("it waits");
    let expected = Undelivered {
        oldest_at: Some(oldest),
        amounts: [("CNY".to_owned(), 320), ("USD".to_owned(), 7)].into(),
        capped: false,
    };
    assert_eq!(world.store.undelivered(id).await.expect("a store"), expected);
    world.set_state(id, SubscriptionState::Paused).await;
    assert_eq!(world.store.undelivered(id).await.expect("a store"), expected);
    let event = Event::new(world.sources.ids.next(), "/shop", "order.paid", world.now(), &large);
    world.ingest(&[NewEvent::from(&event.expect("an event").about("tx", "shop"))]).await;
    assert_eq!(world.store.undelivered(id).await.expect("a store"), Undelivered { capped: true, ..expected });
}
