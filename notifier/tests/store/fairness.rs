//! First attempts and retries share a subscription's capacity.

use std::collections::HashSet;
use std::time::Duration;

use notifier::domain::notification::StateName;
use notifier::domain::{BulkAction, BulkFilter, Delivery, NotificationId, Outcome, States, SubscriptionId};

use super::world::World;

/// Waiting work of `subscription`: so many first attempts, and so many retries that became due before
/// or after them. Each oldest first.
async fn both_kinds(
    world: &World,
    subscription: SubscriptionId,
    (first, retries): (usize, usize),
    retries_due_first: bool,
) -> [Vec<NotificationId>; 2] {
    let mut tried = Vec::new();
    for _ in 0..retries {
        tried.push(world.notify(subscription).await);
        let delivery = world.claim_one(subscription).await;
        world.fail(&delivery).await;
        world.clock.advance(Duration::from_millis(1));
    }
    if retries_due_first {
        world.clock.advance(Duration::from_mins(1));
    }
    let mut fresh = Vec::new();
    for _ in 0..first {
        fresh.push(world.notify(subscription).await);
        world.clock.advance(Duration::from_millis(1));
    }
    world.clock.advance(Duration::from_mins(1));
    [fresh, tried]
}

fn notifications(claimed: &[Delivery]) -> HashSet<NotificationId> {
    claimed.iter().map(|delivery| delivery.notification).collect()
}

/// A replay of all that is in `state` now, from its beginning to its end.
async fn replay(world: &World, subscription: SubscriptionId, state: StateName) {
    let all = BulkFilter::all(BulkAction::Replay, subscription);
    world.start(BulkAction::Replay, BulkFilter { states: States::of(&[state]), ..all }).await;
    while world.step(10).await.more {}
}

pub async fn a_claim_takes_first_attempts_and_retries_by_halves_oldest_first_of_each(world: World) {
    for (merchant, retries_due_first) in [("shop", true), ("bank", false)] {
        let subscription = world.subscribe(merchant, Some("shop")).await;
        let [fresh, tried] = both_kinds(&world, subscription, (50, 50), retries_due_first).await;
        for (round, retries_first) in [(0, false), (1, true)] {
            let from = round * 5;
            let expected: HashSet<_> =
                fresh[from..from + 5].iter().chain(&tried[from..from + 5]).copied().collect();
            let claimed = world.claim_by_halves(subscription, 10, retries_first).await;
            assert_eq!(notifications(&claimed), expected, "{retries_due_first} {retries_first}");
        }
        world.delete(subscription, None).await;
    }
}

pub async fn the_odd_one_of_a_claim_is_of_the_kind_whose_turn_it_is(world: World) {
    let subscription = world.subscribe("a", None).await;
    let [fresh, tried] = both_kinds(&world, subscription, (6, 6), true).await;
    let odd = async |quota, retries_first| {
        notifications(&world.claim_by_halves(subscription, quota, retries_first).await)
    };
    assert_eq!(odd(1, false).await, HashSet::from([fresh[0]]));
    assert_eq!(odd(1, true).await, HashSet::from([tried[0]]));
    assert_eq!(odd(3, false).await, HashSet::from([fresh[1], fresh[2], tried[1]]));
    assert_eq!(odd(3, true).await, HashSet::from([fresh[3], tried[2], tried[3]]));
}

pub async fn where_one_kind_has_less_than_its_half_the_other_has_the_rest(world: World) {
    for (first, retries, retries_first) in
        [(0, 7, false), (7, 0, true), (1, 7, false), (7, 1, true), (2, 2, true), (0, 0, true)]
    {
        let subscription = world.subscribe("a", None).await;
        let [fresh, tried] = both_kinds(&world, subscription, (first, retries), true).await;
        let expected: HashSet<_> = match (first, retries) {
            (first, 7) => fresh.iter().chain(&tried[..6 - first]).copied().collect(),
            (7, retries) => fresh[..6 - retries].iter().chain(&tried).copied().collect(),
            _ => fresh.iter().chain(&tried).copied().collect(),
        };
        let claimed = world.claim_by_halves(subscription, 6, retries_first).await;
        assert_eq!(notifications(&claimed), expected, "{first} first attempts, {retries} retries");
        world.delete(subscription, None).await;
    }
}

pub async fn a_resend_goes_among_the_first_attempts_and_a_replay_among_the_retries(world: World) {
    let subscription = world.subscribe("a", None).await;
    let [_, tried] = both_kinds(&world, subscription, (0, 3), true).await;
    let oldest = world.claim_one(subscription).await;
    world.record(&oldest, Outcome::Delivered).await;
    let next_first = async || {
        let claimed = world.claim_by_halves(subscription, 1, false).await;
        let [delivery] = &claimed[..] else { panic!("something is due") };
        world.record(delivery, Outcome::Delivered).await;
        delivery.notification
    };
    world.resend(tried[0]).await.expect("it may be resent");
    assert_eq!(next_first().await, tried[0], "it was final");
    world.clock.advance(Duration::from_secs(1));
    world.resend(tried[2]).await.expect("it may be resent");
    assert_eq!(next_first().await, tried[2], "it waited");
    replay(&world, subscription, StateName::Delivered).await;
    world.clock.advance(Duration::from_secs(1));
    let fresh = world.notify(subscription).await;
    assert_eq!(next_first().await, fresh, "though all else is due before it");
    world.resend(tried[2]).await.expect("it may be resent");
    replay(&world, subscription, StateName::Pending).await;
    world.clock.advance(Duration::from_secs(1));
    let fresh = world.notify(subscription).await;
    assert_eq!(next_first().await, fresh, "though all else is due before it");
    let left = notifications(&world.claim(subscription, 10).await);
    assert_eq!(left, tried.into_iter().collect(), "none is lost");
}
