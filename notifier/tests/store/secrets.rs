//! What webhooks are signed with: rotation, and how it is kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use messaging::webhook::{Scheme, SigningKey};
use notifier::domain::{Signing, SubscriptionId};
use notifier::secrets::require_keys;
use notifier::store::{MissingKey, SecretPlace};
use notifier::usecases::reseal_secrets::ResealSecrets;
use runtime::background::{Progress, Worker};

use super::shelf::{NEW, OLD, Shelf};
use super::world::World;

async fn rotate(world: &World, id: SubscriptionId, seed: u64, until: DateTime<Utc>) {
    let rotated = world.rotate(id, None, None, seed, until).await;
    assert_eq!(rotated, Some(World::key(seed)));
}

/// What is signed with at `at`.
async fn live(world: &World, id: SubscriptionId, at: DateTime<Utc>) -> Vec<SigningKey> {
    let directory = world.store.directory().await.expect("a store");
    directory.get(id).expect("an entry").endpoint.live_keys(at).cloned().collect()
}

fn keys(seeds: &[u64]) -> Vec<SigningKey> {
    seeds.iter().map(|seed| World::key(*seed)).collect()
}

/// How many rounds of `limit` it takes to seal all anew, and how many were.
async fn reseal(world: &World, limit: u32) -> (usize, usize) {
    let (mut after, mut rounds, mut resealed) = (SecretPlace::START, 0, 0);
    loop {
        let step = world.store.reseal(after, limit).await.expect("a store");
        resealed += step.resealed;
        let Some(last) = step.last else { return (rounds, resealed) };
        (after, rounds) = (last, rounds + 1);
    }
}

async fn missing(world: &World) -> Vec<(String, i64)> {
    let missing = world.store.missing_keys().await.expect("a store");
    missing.into_iter().map(|MissingKey { id, subscriptions }| (id, subscriptions)).collect()
}

pub async fn a_rotated_secret_signs_beside_the_new_one_until_its_very_end(shelf: Shelf) {
    let world = shelf.world(&[NEW]).await;
    let id = world.subscribe("orders", None).await;
    let end = world.now() + Duration::from_hours(24);
    rotate(&world, id, 2, end).await;
    assert_eq!(live(&world, id, world.now()).await, keys(&[2, 1]));
    assert_eq!(live(&world, id, end - TimeDelta::microseconds(1)).await, keys(&[2, 1]));
    assert_eq!(live(&world, id, end).await, keys(&[2]));
    // A later rotation with a longer overlap does not lengthen the first one's life.
    rotate(&world, id, 3, end + Duration::from_hours(1)).await;
    assert_eq!(live(&world, id, end - TimeDelta::microseconds(1)).await, keys(&[3, 2, 1]));
    assert_eq!(live(&world, id, end).await, keys(&[3, 2]));
    // One without overlap ends all at once.
    rotate(&world, id, 4, world.now()).await;
    assert_eq!(live(&world, id, world.now()).await, keys(&[4]));
    assert_eq!(shelf.kept().await.len(), 1);
}

pub async fn no_more_than_five_secrets_are_live_and_the_oldest_goes_first(shelf: Shelf) {
    let world = shelf.world(&[NEW]).await;
    let id = world.subscribe("orders", None).await;
    let end = world.now() + Duration::from_hours(24);
    for seed in 2..=5 {
        rotate(&world, id, seed, end).await;
    }
    assert_eq!(live(&world, id, world.now()).await, keys(&[5, 4, 3, 2, 1]));
    rotate(&world, id, 6, end).await;
    assert_eq!(live(&world, id, world.now()).await, keys(&[6, 5, 4, 3, 2]));
}

pub async fn a_rotation_may_change_the_scheme_and_public_keys_show_as_long_as_they_sign(shelf: Shelf) {
    let world = shelf.world(&[NEW]).await;
    let (id, other) = (world.subscribe("orders", None).await, world.subscribe("other", None).await);
    let signing = async |at| {
        let mut all = world.store.signing(&[id, other], at).await.expect("a store");
        let others = all.remove(&other).expect("it is signed");
        assert_eq!((others.scheme, others.public_keys), (Scheme::V1, vec![]));
        let Signing { scheme, public_keys, .. } = all.remove(&id).expect("it is signed");
        (scheme, public_keys.into_iter().map(|live| (live.key, live.expires_at)).collect::<Vec<_>>())
    };
    assert_eq!(signing(world.now()).await, (Scheme::V1, vec![]));
    let (now, end) = (world.now(), world.now() + Duration::from_hours(24));
    let pair = world.rotate(id, None, Scheme::V1a, 2, end).await.expect("it is there");
    let public = pair.public_key().expect("a pair");
    assert_eq!(signing(now).await, (Scheme::V1a, vec![(public, None)]));
    assert_eq!(live(&world, id, now).await, [pair.clone(), World::key(1)]);
    // As before, where nothing else is asked for.
    let next = world.rotate(id, None, None, 3, end).await.expect("it is there");
    let keys = vec![(next.public_key().expect("a pair"), None), (public, Some(end))];
    assert_eq!(signing(end - TimeDelta::microseconds(1)).await, (Scheme::V1a, keys.clone()));
    assert_eq!(signing(end).await, (Scheme::V1a, keys[..1].to_vec()));
    let back = world.rotate(id, None, Scheme::V1, 4, end).await.expect("it is there");
    assert_eq!(signing(now).await, (Scheme::V1, vec![(keys[0].0, Some(end)), keys[1]]));
    assert_eq!(live(&world, id, end).await, [back]);
    assert!(shelf.kept().await.iter().all(|kept| !kept.contains("whsk_")));
}

pub async fn a_secret_is_kept_encrypted_and_signs_all_the_same(shelf: Shelf) {
    let world = shelf.world(&[OLD]).await;
    let id = world.subscribe("orders", None).await;
    rotate(&world, id, 2, world.now() + Duration::from_hours(1)).await;
    let text = World::key(1).expose();
    for kept in shelf.kept().await {
        assert!(!kept.contains("whsec_") && !kept.contains(text.expose()), "{kept}");
    }
    assert_eq!(live(&world, id, world.now()).await, keys(&[2, 1]));
    assert_eq!(live(&shelf.world(&[NEW, OLD]).await, id, world.now()).await, keys(&[2, 1]));
}

pub async fn what_is_in_plain_text_or_under_an_older_key_is_encrypted_under_the_first(shelf: Shelf) {
    let (plain, old) = (shelf.world(&[]).await, shelf.world(&[OLD]).await);
    let first = plain.subscribe("plain", None).await;
    let second = old.subscribe("old", None).await;
    rotate(&old, first, 2, old.now() + Duration::from_hours(1)).await;
    let both = shelf.world(&[NEW, OLD]).await;
    assert_eq!(reseal(&both, 2).await, (2, 3));
    assert_eq!(reseal(&both, 2).await, (0, 0), "all are under the first key");
    let new = shelf.world(&[NEW]).await;
    assert_eq!(missing(&new).await, []);
    assert_eq!(live(&new, first, new.now()).await, keys(&[2, 1]));
    assert_eq!(live(&new, second, new.now()).await, keys(&[1]));
    // Written meanwhile by a process that has no key yet: found on the worker's next walk.
    rotate(&plain, second, 3, plain.now() + Duration::from_hours(1)).await;
    let mut worker = ResealSecrets::new(new.store.clone());
    while worker.run_once().await.expect("a store") == Progress::More {}
    assert_eq!(live(&shelf.world(&[NEW]).await, second, new.now()).await, keys(&[3, 1]));
    assert!(shelf.kept().await.iter().all(|kept| !kept.contains("whsec_")));
}

pub async fn a_key_that_is_missing_is_named_with_how_many_subscriptions_need_it(shelf: Shelf) {
    let old = shelf.world(&[OLD]).await;
    let id = old.subscribe("one", None).await;
    rotate(&old, id, 2, old.now() + Duration::from_hours(1)).await;
    old.subscribe("two", None).await;
    assert_eq!(missing(&old).await, []);
    require_keys(&*old.store).await.expect("none is missing");
    for keys in [&[NEW] as &[_], &[]] {
        let world = shelf.world(keys).await;
        assert_eq!(missing(&world).await, [("old".to_owned(), 2)]);
        let error = require_keys(&*world.store).await.expect_err("refused").to_string();
        assert!(error.contains("SECRET_KEYS") && error.contains("`old` (secrets of 2 sub"), "{error}");
    }
}

pub async fn a_subscription_whose_secret_cant_be_read_is_left_to_those_who_can(shelf: Shelf) {
    let (old, new) = (shelf.world(&[OLD]).await, shelf.world(&[NEW, OLD]).await);
    let readable = old.subscribe("readable", None).await;
    let unreadable = new.subscribe("unreadable", None).await;
    let active = |directory: &notifier::domain::Directory| -> Vec<_> {
        directory.active().map(|endpoint| endpoint.subscription).collect()
    };
    assert_eq!(active(&old.store.directory().await.expect("a store")), [readable]);
    assert_eq!(active(&new.store.directory().await.expect("a store")), [readable, unreadable]);
    let made = old.ingest(&[old.event("tx")]).await;
    assert_eq!((made.notifications, made.waiting), (2, 1));
    assert_eq!(old.claim(readable, 1).await.len(), 1);
    assert_eq!(new.claim(unreadable, 1).await.len(), 1, "it was not lost");
}

pub async fn a_secret_put_in_anothers_row_signs_nothing_and_holds_nobody_else_back(shelf: Shelf) {
    let world = shelf.world(&[NEW]).await;
    let (first, second) = (world.subscribe("first", None).await, world.subscribe("second", None).await);
    let third = world.subscribe("third", None).await;
    rotate(&world, second, 2, world.now() + Duration::from_hours(1)).await;
    (shelf.run)(
        "UPDATE subscription_secrets SET secret = (
             SELECT k.secret FROM subscription_secrets k JOIN subscriptions s ON s.id = k.subscription_id
             WHERE s.name = 'third')
         WHERE ordinal = 1 RETURNING secret",
    )
    .await;
    let again = shelf.world(&[NEW]).await;
    for (id, readable) in [(first, keys(&[])), (second, keys(&[2])), (third, keys(&[1]))] {
        assert_eq!(live(&again, id, world.now()).await, readable);
    }
    let directory = again.store.directory().await.expect("a store");
    assert!(directory.active().map(|endpoint| endpoint.subscription).eq([third]));
    assert_eq!(missing(&again).await, [], "the key is there");
    assert_eq!(reseal(&shelf.world(&[OLD, NEW]).await, 1).await, (4, 2), "passed over, not stuck at");
    // Its owner's way out.
    rotate(&again, first, 3, again.now()).await;
    assert_eq!(live(&again, first, again.now()).await, keys(&[3]));
}

pub async fn without_a_key_nothing_is_sealed_or_unsealed(shelf: Shelf) {
    let (plain, old) = (shelf.world(&[]).await, shelf.world(&[OLD]).await);
    let id = plain.subscribe("plain", None).await;
    old.subscribe("sealed", None).await;
    assert_eq!(shelf.kept().await[0], World::key(1).expose().expose());
    assert_eq!(live(&plain, id, plain.now()).await, keys(&[1]));
    let before = shelf.kept().await;
    assert_eq!(reseal(&plain, 10).await, (0, 0));
    assert_eq!(shelf.kept().await, before);
}

pub async fn a_rotation_shows_when_each_live_secret_was_made_and_when_it_ends(shelf: Shelf) {
    let world = shelf.world(&[NEW]).await;
    let id = world.subscribe("orders", None).await;
    let made = world.now();
    world.clock.advance(Duration::from_hours(1));
    let (rotated, end) = (world.now(), world.now() + Duration::from_hours(24));
    rotate(&world, id, 2, end).await;
    let secrets = async |at| {
        let signing =
            world.store.signing(&[id], at).await.expect("a store").remove(&id).expect("it is signed");
        signing.secrets.iter().map(|live| (live.created_at, live.expires_at)).collect::<Vec<_>>()
    };
    assert_eq!(secrets(world.now()).await, [(rotated, None), (made, Some(end))]);
    assert_eq!(secrets(end).await, [(rotated, None)]);
}
