//! Subscriptions, attempts, clocks, lost leases and operators' commands in random order, against a
//! model of what is meant: no order gives two live leases, loses a notification, makes an attempt
//! before its time, skips a ladder step or an attempt's number.

mod command;
mod comparison;
mod driver;
#[expect(clippy::module_inception, reason = "it is the model")]
mod model;
mod operators;

use std::cell::RefCell;
use std::sync::Arc;

use notifier::store::Store;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

use command::commands;
use driver::{Driver, Seen};

/// What happens in one case of a hundred at the least.
const MUST_BE_SEEN: [&str; 14] = [
    "claims of both kinds",
    "leases taken over",
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
    "reached again",
    "disabled after failing for too long",
];

/// Ten times as many cases with `RINGBACK_LONG_TESTS=1`.
pub fn cases(usual: u32) -> u32 {
    let long = std::env::var("RINGBACK_LONG_TESTS").is_ok_and(|value| value == "1");
    if long { usual * 10 } else { usual }
}

/// Runs `cases` cases, the same ones for the same `seed`, each on `store` after `empty`. Fails with
/// the shortest order of commands that fails.
pub fn run(runtime: &Runtime, store: &Arc<dyn Store>, empty: &impl AsyncFn(), cases: u32, seed: u8) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &[seed; 16]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tally = RefCell::new(Seen::new());
    let outcome = runner.run(&commands(), |commands| {
        let of_case = runtime.block_on(async {
            empty().await;
            let mut driver = Driver::start(store.clone(), u64::from(seed)).await;
            for command in &commands {
                driver.run(command).await;
            }
            driver.finish().await
        });
        for (what, times) in of_case {
            *tally.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let tally = tally.into_inner();

    for what in MUST_BE_SEEN {
        let times = tally.get(what).copied().unwrap_or_default();
        assert!(times >= cases / 100, "{what}: {times} times in {cases} cases: {tally:?}");
    }
}
