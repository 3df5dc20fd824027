//! What people did to subscriptions.

use notifier::domain::subscription::Patch;
use notifier::domain::{SubscriptionAction, SubscriptionAudit, SubscriptionId};
use runtime::http::Page;
use uuid::Uuid;

use super::world::{FIRST_PAGE, World};

pub async fn audits(
    world: &World,
    id: SubscriptionId,
    owner: Option<&str>,
) -> Option<Vec<SubscriptionAudit>> {
    world.store.subscription_audits(id, owner, FIRST_PAGE).await.expect("a store")
}

async fn actions(world: &World, id: SubscriptionId) -> Vec<SubscriptionAction> {
    let audits = audits(world, id, None).await.expect("it is there");
    audits.into_iter().map(|audit| audit.action).collect()
}

pub async fn what_is_done_to_a_subscription_is_kept_in_its_order_and_outlives_it(world: World) {
    use SubscriptionAction::{Change, Create, Delete, RotateSecret};
    let id = world.subscribe("orders", Some("shop")).await;
    let other = world.subscribe("orders", Some("bank")).await;
    let patch = Patch { name: Some("new".into()), rate_limit: Some(None), ..Patch::default() };
    let change = SubscriptionAudit {
        changed: patch.fields(),
        actor: "merchant:shop".into(),
        reason: Some("better, and \"quoted\"".into()),
        ..world.deed(Change)
    };
    world.store.patch(id, None, &patch, &change).await.expect("a store").expect("there").expect("valid");
    world.rotate(id, None, None, 2, world.now()).await.expect("it is there");
    assert_eq!(actions(&world, id).await, [RotateSecret, Change, Create]);
    assert_eq!(audits(&world, id, Some("shop")).await.expect("it is there")[1], change);
    assert_eq!(change.changed, ["name", "rate_limit"]);
    assert!(world.delete(id, None).await);
    assert_eq!(actions(&world, id).await, [Delete, RotateSecret, Change, Create]);
    assert_eq!(actions(&world, other).await, [Create]);
    assert_eq!(audits(&world, id, Some("bank")).await, None);
    assert_eq!(audits(&world, SubscriptionId(Uuid::nil()), None).await, None);
}

pub async fn what_is_refused_leaves_no_trace(world: World) {
    let id = world.subscribe("orders", Some("shop")).await;
    world.subscribe("taken", Some("shop")).await;
    for (patch, owner) in [
        (Patch { name: Some("taken".into()), ..Patch::default() }, None),
        (Patch { max_in_flight: Some(0), ..Patch::default() }, None),
        (Patch::default(), Some("bank")),
    ] {
        let deed = world.deed(SubscriptionAction::Change);
        let patched = world.store.patch(id, owner, &patch, &deed).await.expect("a store");
        assert!(!matches!(patched, Some(Ok(_))), "{patch:?}");
    }
    assert_eq!(world.rotate(id, Some("bank"), None, 2, world.now()).await, None);
    assert!(!world.delete(id, Some("bank")).await);
    assert_eq!(actions(&world, id).await, [SubscriptionAction::Create]);
    assert!(world.delete(id, None).await);
    assert!(!world.delete(id, None).await);
    assert_eq!(actions(&world, id).await, [SubscriptionAction::Delete, SubscriptionAction::Create]);
}

pub async fn audits_page_newest_first(world: World) {
    let id = world.subscribe("orders", None).await;
    for seed in 2..6 {
        world.rotate(id, None, None, seed, world.now()).await.expect("it is there");
    }
    let all: Vec<Uuid> =
        audits(&world, id, None).await.expect("there").iter().map(|audit| audit.id).collect();
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by(|newer, older| newer > older));
    // A page asks for one more than it shows, to know whether there is another.
    let page = Page { limit: 2, after: Some(all[1]) };
    let next = world.store.subscription_audits(id, None, page).await.expect("a store").expect("there");
    assert_eq!(next.iter().map(|audit| audit.id).collect::<Vec<_>>(), all[2..5]);
}
