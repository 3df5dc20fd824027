//! Rotating `SECRET_KEYS` with two notifiers on one database, restarted one at a time.

use std::time::Duration;

use notifier::domain::SubscriptionId;
use notifier::domain::vault_keys::Mismatch;
use notifier::secrets::require_keys;
use notifier::usecases::hold_keys::HoldKeys;
use notifier::usecases::reseal_secrets::ResealSecrets;
use runtime::Shutdown;
use runtime::background::{Progress, Worker};

use crate::shelf;
use crate::store::World;
use crate::store::shelf::{NEW, OLD, Shelf};

/// A notifier as far as its keys go.
struct Notifier {
    world: World,
    holding: HoldKeys,
}

impl Notifier {
    /// What the program does before it writes anything.
    async fn start(shelf: &Shelf, keys: &[&str]) -> anyhow::Result<Self> {
        let world = shelf.world(keys).await;
        require_keys(&*world.store).await?;
        let (store, sources) = (world.store.clone(), world.sources.clone());
        let holding = HoldKeys::start(store, sources, &Shutdown::new()).await?;
        Ok(Self { world, holding: holding.expect("it is not stopped") })
    }

    async fn lives_on(&mut self) {
        self.holding.run_once().await.expect("its keys agree with those of others");
    }

    async fn reseal(&self) {
        let mut worker = ResealSecrets::new(self.world.store.clone());
        while worker.run_once().await.expect("a store") == Progress::More {}
    }

    async fn reads(&self, subscriptions: &[SubscriptionId]) -> bool {
        let directory = self.world.store.directory().await.expect("a store");
        subscriptions.iter().all(|id| directory.active().any(|endpoint| endpoint.subscription == *id))
    }
}

/// While it starts, the notifiers `alive` go on to say that they run.
async fn start_beside(shelf: &Shelf, keys: &[&str], alive: &mut Notifier) -> anyhow::Result<Notifier> {
    let clock = alive.world.clock.clone();
    let living = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            clock.advance(Duration::from_secs(1));
            alive.lives_on().await;
        }
    };
    tokio::select! {
        started = Notifier::start(shelf, keys) => started,
        () = living => unreachable!("it lives for ever"),
    }
}

#[tokio::test]
async fn in_the_documented_order_every_secret_is_readable_by_both_notifiers_at_every_step() {
    let shelf = shelf().await;
    let mut first = Notifier::start(&shelf, &[OLD]).await.expect("alone");
    let mut second = start_beside(&shelf, &[OLD], &mut first).await.expect("the same keys");
    let mut subscriptions = vec![first.world.subscribe("before", None).await];
    for (step, keys) in [&[OLD, NEW][..], &[NEW, OLD], &[NEW]].into_iter().enumerate() {
        for number in 0..2 {
            let (restarted, other) =
                if number == 0 { (&mut first, &mut second) } else { (&mut second, &mut first) };
            let next = start_beside(&shelf, keys, other).await.expect("the documented order");
            std::mem::replace(restarted, next).holding.end().await;
            restarted.reseal().await;
            subscriptions.push(restarted.world.subscribe(&format!("{step}-{number}"), None).await);
            subscriptions.push(other.world.subscribe(&format!("{step}-{number}-other"), None).await);
            assert!(first.reads(&subscriptions).await && second.reads(&subscriptions).await, "{keys:?}");
        }
    }
    assert_eq!(subscriptions.len(), 13);
}

#[tokio::test]
async fn in_any_other_order_the_program_says_what_is_wrong_before_it_writes_anything() {
    const OTHER_OLD: &str = "old:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let old = || "old".to_owned();
    for (running, keys, mismatch) in [
        (&[OLD][..], &[NEW, OLD][..], Mismatch::LackedThere("new".to_owned())),
        (&[OLD], &[NEW], Mismatch::LackedThere("new".to_owned())),
        (&[OLD, NEW], &[NEW], Mismatch::LackedHere(old())),
        (&[NEW, OLD], &[OLD], Mismatch::LackedHere("new".to_owned())),
        (&[], &[OLD], Mismatch::NoKeyThere(old())),
        (&[OLD], &[], Mismatch::LackedHere(old())),
        (&[OLD], &[OTHER_OLD], Mismatch::Differs(old())),
    ] {
        let shelf = shelf().await;
        let mut alive = Notifier::start(&shelf, running).await.expect("alone");
        let before = shelf.kept().await;
        let refused = start_beside(&shelf, keys, &mut alive).await.err().expect("refused").to_string();
        assert_eq!(refused, format!("SECRET_KEYS (--secret-keys): {mismatch}"));
        assert_eq!(shelf.kept().await, before);
        alive.lives_on().await;
    }
}

#[tokio::test]
async fn a_notifier_that_has_ended_or_died_does_not_stand_in_the_way() {
    let shelf = shelf().await;
    let ended = Notifier::start(&shelf, &[OLD]).await.expect("alone");
    ended.holding.end().await;
    let killed = Notifier::start(&shelf, &[NEW]).await.expect("the other one has ended");
    killed.world.clock.advance(Duration::from_secs(61));
    let next = Notifier::start(&shelf, &[OLD]).await.expect("it has not said for a minute that it runs");
    // It was not dead: now it says what is wrong instead of going on unnoticed.
    let Notifier { mut holding, .. } = killed;
    let error = holding.run_once().await.expect_err("the keys disagree").to_string();
    assert!(error.contains("SECRET_KEYS") && error.contains("`new`"), "{error}");
    drop(next);
}
