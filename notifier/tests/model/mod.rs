//! Subscriptions, attempts, clocks, lost leases and operators' commands in random order, against a
//! model of what is meant: no order gives two live leases, loses a notification, makes an attempt
//! before its time, skips a ladder step or an attempt's number.

mod command;
mod comparison;
mod driver;
#[expect(clippy::module_inception, reason = "it is the model")]
mod model;
mod operators;
mod publishing;

use std::sync::Arc;

use notifier::store::Store;
use runtime::testing::property;
use tokio::runtime::Runtime;

use command::commands;
use driver::Driver;

/// What happens in one case of a hundred at the least.
const MUST_BE_SEEN: [&str; 22] = [
    "events of another source with a known id",
    "contradictions",
    "events known",
    "claims of both kinds",
    "leases taken over",
    "leases given back",
    "leases given back late",
    "late results",
    "third attempts",
    "exhausted",
    "held",
    "resent",
    "resends refused",
    "replayed",
    "passed over by replays",
    "unreachable",
    "probes",
    "paused by the receiver",
    "probes after a pause",
    "pauses over",
    "reached again",
    "disabled after failing for too long",
];

/// Runs `cases` cases, the same ones for the same `seed`, each on `store` after `empty`. Fails with
/// the shortest order of commands that fails.
pub fn run(runtime: &Runtime, store: &Arc<dyn Store>, empty: &impl AsyncFn(), cases: u32, seed: u8) {
    property::run(&commands(), cases, seed, &MUST_BE_SEEN, |commands| {
        runtime.block_on(async {
            empty().await;
            let mut driver = Driver::start(store.clone(), u64::from(seed)).await;
            for command in &commands {
                driver.run(command).await;
            }
            driver.finish().await
        })
    });
}
