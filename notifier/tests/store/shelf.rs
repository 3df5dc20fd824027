//! One database that several stores open, each with keys of its own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use notifier::store::Store;
use runtime::testing::{ManualClock, SeededEntropy, manual_sources};
use runtime::{Sources, Vault};

use super::World;

/// Opens the database with a vault.
pub type Open = Box<dyn Fn(Arc<Vault>) -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;
/// Runs a statement on it; the bytes in each row that it answers.
pub type Run = Box<dyn Fn(&'static str) -> BoxFuture<'static, Vec<Vec<u8>>> + Send + Sync>;

pub struct Shelf {
    open: Open,
    pub run: Run,
    sources: Sources,
    clock: ManualClock,
    _folder: Option<tempfile::TempDir>,
}

/// A key's id and the key.
pub const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another.
pub const NEW: &str = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

impl Shelf {
    pub fn new(open: Open, run: Run, folder: Option<tempfile::TempDir>) -> Self {
        let (sources, clock) = manual_sources(7);
        Self { open, run, sources, clock, _folder: folder }
    }

    /// A world whose store has the keys `keys`, of which the first encrypts.
    pub async fn world(&self, keys: &[&str]) -> World {
        let keys = keys.join(",").parse().expect("keys");
        let vault = Vault::new(&keys, Arc::new(SeededEntropy::new(1)));
        let mut world = World::new((self.open)(Arc::new(vault)).await, None);
        world.sources = self.sources.clone();
        world.clock = self.clock.clone();
        world
    }

    /// What the column `secret` holds, in the order of the rows, as far as it is text.
    pub async fn kept(&self) -> Vec<String> {
        let rows =
            (self.run)("SELECT secret FROM subscription_secrets ORDER BY subscription_id, ordinal").await;
        rows.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}
