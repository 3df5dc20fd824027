use std::fs;
use std::path::PathBuf;

use super::*;
use crate::keys::{Caller, KeyHash, MerchantKeys, Unidentified};
use crate::secret::Secret;
use crate::testing::log::Log;
use crate::testing::manual_sources;

/// A keyring that follows a file of a folder of its own.
struct World {
    path: PathBuf,
    keyring: Keyring,
    worker: FollowKeys,
    _folder: tempfile::TempDir,
}

fn merchant(name: &str, key: &str) -> String {
    format!("[[merchant]]\nname = \"{name}\"\nkey_sha256 = [\"{}\"]\n", KeyHash::of(key))
}

impl World {
    fn with(text: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys.toml");
        if let Some(text) = text {
            fs::write(&path, text).expect("written");
        }
        let keyring = Keyring::new(Some(&Secret::new("op")), &MerchantKeys::default());
        let keyring = keyring.with_file(&path, true, manual_sources(1).0.clock).expect("well-formed");
        let worker = FollowKeys::claim(keyring.clone()).expect("the first");
        Self { path, keyring, worker, _folder: folder }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("written");
    }

    async fn round(&mut self) -> Progress {
        self.worker.run_once().await.expect("a reading")
    }

    /// Reads until there is nothing to wait for.
    async fn settle(&mut self) {
        while self.round().await != Progress::Idle {}
    }

    fn knows(&self, key: &str) -> bool {
        self.keyring.identify(key).is_ok()
    }

    async fn readiness(&self) -> Result<(), String> {
        KeysCheck(self.keyring.clone()).check().await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_key_counts_from_when_it_is_added_until_it_is_removed() {
    let mut world = World::with(Some(&merchant("shop", "k1")));
    world.write(&(merchant("shop", "k1") + &merchant("kiosk", "k2")));
    world.settle().await;
    assert_eq!(world.keyring.identify("k2"), Ok(Caller::Merchant("kiosk".into())));
    world.write(&merchant("shop", "k1"));
    world.settle().await;
    assert_eq!(world.keyring.identify("k2"), Err(Unidentified::Unknown));
    assert!(world.knows("k1") && world.knows("op"));
}

#[tokio::test]
async fn a_change_counts_when_it_is_read_twice_so_that_none_is_read_half_way() {
    let whole = merchant("shop", "k1") + &merchant("kiosk", "k2");
    let mut world = World::with(Some(&whole));
    world.write(&merchant("shop", "k1"));
    assert_eq!(world.round().await, Progress::IdleFor(SETTLED_AFTER));
    assert!(world.knows("k2"), "the editor may be half way");
    world.write(&(whole + "# reviewed\n"));
    assert_eq!(world.round().await, Progress::IdleFor(SETTLED_AFTER));
    assert_eq!(world.round().await, Progress::Idle);
    assert!(world.knows("k2"));
}

#[tokio::test]
async fn a_broken_or_missing_file_keeps_the_last_good_keys_and_says_so_until_it_is_repaired() {
    let good = merchant("shop", "k1");
    let mut world = World::with(Some(&good));
    let (log, _guard) = Log::start();
    for (broken, line) in [
        (Some("[[merchant]]\nname = \"shop\"\nkey_sha256 = [\"hush\"]\n"), "line 3"),
        (Some("[[merchant]]\nname = \"a b\"\nkey_sha256 = []\n"), "line 2"),
        (None, "can't be read"),
    ] {
        match broken {
            Some(text) => world.write(text),
            None => fs::remove_file(&world.path).expect("removed"),
        }
        for _ in 0..5 {
            world.settle().await;
        }
        assert!(world.knows("k1") && world.knows("op"), "{line}");
        let degraded = world.readiness().await.expect_err(line);
        assert!(degraded.contains("KEYS_FILE") && degraded.contains(line), "{degraded}");
        let lines = log.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("keys.file_refused") && !lines[0].contains("hush"), "{lines:?}");
        world.write(&good);
        world.settle().await;
        assert_eq!(world.readiness().await, Ok(()));
        assert!(log.take().iter().any(|line| line.contains("keys.file_read")));
    }
}

#[tokio::test]
async fn a_file_that_may_be_missing_counts_from_when_it_is_made() {
    let mut world = World::with(None);
    world.settle().await;
    assert_eq!(world.readiness().await, Ok(()));
    world.write(&merchant("kiosk", "k2"));
    world.settle().await;
    assert!(world.knows("k2"));
}

#[tokio::test]
async fn a_file_without_keys_is_valid_and_that_all_callers_are_refused_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("keys.toml");
    fs::write(&path, merchant("shop", "k1")).expect("written");
    let keyring = Keyring::new(None, &MerchantKeys::default());
    let keyring = keyring.with_file(&path, false, manual_sources(1).0.clock).expect("well-formed");
    let worker = FollowKeys::claim(keyring.clone()).expect("the first");
    let mut world = World { path, keyring, worker, _folder: folder };
    let (log, _guard) = Log::start();
    world.write("");
    world.settle().await;
    assert!(!world.knows("k1"));
    assert!(world.readiness().await.expect_err("degraded").contains("401"));
    assert!(log.take().iter().any(|line| line.contains("keys.none_configured")));
}

#[tokio::test]
async fn a_file_is_followed_once_however_many_services_share_it() {
    let world = World::with(None);
    assert!(FollowKeys::claim(world.keyring.clone()).is_none());
}

#[tokio::test]
async fn many_threads_identify_callers_while_the_file_changes() {
    let mut world = World::with(Some(&merchant("shop", "k1")));
    let stop = Shutdown::new();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (keyring, stop) = (world.keyring.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut calls = 0;
                while !stop.is_stopping() || calls == 0 {
                    assert_eq!(keyring.identify("k1"), Ok(Caller::Merchant("shop".into())));
                    calls += 1;
                }
            })
        })
        .collect();
    for number in 0..50 {
        world.write(&(merchant("shop", "k1") + &merchant("kiosk", &format!("k2-{number}"))));
        world.settle().await;
        assert!(world.knows(&format!("k2-{number}")));
    }
    stop.stop_softly();
    for caller in callers {
        caller.join().expect("no failure");
    }
}
