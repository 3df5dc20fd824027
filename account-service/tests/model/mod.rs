//! Recharges, results told on every road in any order and number or not at all, statements walked along
//! by several processes, wrong answers, operators' decisions, and processes that stop or die between any
//! two steps, against a model of what is meant: every success is credited once, nothing else is, no
//! exception is lost, and a statement finds exactly what the two sides differ in.

mod applying;
mod asking;
mod calls;
mod command;
mod comparison;
mod driver;
mod exceptions;
mod gate;
#[expect(clippy::module_inception, reason = "it is the model")]
mod model;
mod mortal;
mod mortal_walks;
mod pay_service;
mod queue;
mod reconciling;
mod report;
mod rig;
mod statement;
mod walking;
mod walks;
mod workers;

use std::cell::RefCell;
use std::sync::Arc;

use account_service::store::Store;
use runtime::testing::property;
use tokio::runtime::Runtime;

use command::commands;
use driver::Driver;
use rig::Rig;

/// What happens in one case of a hundred at the least.
const MUST_BE_SEEN: [&str; 37] = [
    "answers lost",
    "credited by webhook",
    "credited from the queue",
    "credited by sweep",
    "credited by query",
    "told again",
    "refused",
    "orders credited already",
    "credited despite",
    "given up",
    "requeued",
    "decisions",
    "decisions refused",
    "exceptions that closed",
    "not taken",
    "forgotten",
    "wrong answers",
    "deaths while answering",
    "deaths at work",
    "went on late",
    "leases taken over",
    "late answers",
    "credited by statement",
    "refused by statement",
    "not succeeded there",
    "not there",
    "credited otherwise",
    "credited meanwhile",
    "succeeded meanwhile",
    "put off",
    "reconciliations of several stretches",
    "reconciliations taken over",
    "stretches whose lease was lost",
    "put off late",
    "deaths on a stretch",
    "differences at the end",
    "cases",
];

/// Runs `cases` cases, the same ones for the same `seed`, each on `store` after `empty`. Fails with
/// the shortest order of commands that fails.
pub fn run(runtime: &Runtime, store: &Arc<dyn Store>, empty: &impl AsyncFn(), cases: u32, seed: u8) {
    let rig = RefCell::new(runtime.block_on(async { Rig::new(store.clone()) }));
    property::run(&commands(), cases, seed, &MUST_BE_SEEN, |commands| {
        // A case that failed may have left it in the middle of something; it begins anew.
        let mut rig = rig.borrow_mut();
        runtime.block_on(async {
            empty().await;
            let mut driver = Driver::start(&mut rig, u64::from(seed)).await;
            for command in &commands {
                driver.run(command).await;
            }
            driver.saw("cases", 1);
            driver.finish().await
        })
    });
}
