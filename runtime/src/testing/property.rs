//! Property tests over whole services: random cases, the same ones each time, of which the shortest that
//! fails is told, and a count of what they came by.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::is_long;

/// How often what is hard to get right came about: a generator that seldom gets there shows nothing.
pub type Seen = BTreeMap<&'static str, u32>;

/// As many cases as `usual`, ten times as many when tests may take [long](is_long).
pub fn cases(usual: u32) -> u32 {
    if is_long() { usual * 10 } else { usual }
}

/// Runs `cases` cases of `strategy`, the same ones for the same `seed`. Panics with the shortest case
/// that fails, or when one of `must_be_seen` came about in less than one case of a hundred.
pub fn run<S: Strategy>(
    strategy: &S,
    cases: u32,
    seed: u8,
    must_be_seen: &[&str],
    case: impl Fn(S::Value) -> Seen,
) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &[seed; 16]);
    let tally = RefCell::new(Seen::new());
    let outcome = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
        for (what, times) in case(value) {
            *tally.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let tally = tally.into_inner();
    for what in must_be_seen {
        let times = tally.get(what).copied().unwrap_or_default();
        assert!(times >= cases / 100, "{what}: {times} times in {cases} cases: {tally:?}");
    }
}

/// Lets `workers`, numbered from 1, work in a thread each, and fails when one of them does.
pub fn in_parallel(workers: u8, work: impl Fn(u8) + Sync) {
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> = (1..=workers).map(|worker| scope.spawn(move || work(worker))).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    /// What a run panics with, if it does.
    fn failure(run: impl FnOnce() + std::panic::UnwindSafe) -> Option<String> {
        let panic = catch_unwind(run).err()?;
        panic.downcast::<String>().ok().map(|message| *message)
    }

    #[test]
    fn the_shortest_case_that_fails_is_told() {
        let run = || {
            run(&(0..1000_u32), 200, 1, &[], |value| {
                assert!(value < 10, "too large");
                Seen::new()
            });
        };
        let told = failure(run).expect("one fails");
        assert!(told.contains("too large") && told.contains("minimal failing input: 10"), "{told}");
    }

    #[test]
    fn what_is_seen_too_seldom_fails_and_the_same_seed_brings_the_same() {
        let seen = |seed: u8| {
            let values = RefCell::new(Vec::new());
            run(&(0..1000_u32), 200, seed, &["even"], |value| {
                values.borrow_mut().push(value);
                Seen::from([("even", u32::from(value % 2 == 0))])
            });
            values.into_inner()
        };
        assert_eq!(seen(1), seen(1));
        assert_ne!(seen(1), seen(2));
        let run = || run(&(0..1000_u32), 200, 1, &["odd"], |_| Seen::from([("odd", 0)]));
        assert!(failure(run).is_some_and(|told| told.starts_with("odd: 0 times in 200 cases")));
    }

    #[test]
    fn one_worker_that_fails_fails_them_all() {
        let told = failure(|| in_parallel(3, |worker| assert!(worker != 2, "the {worker}nd")));
        assert_eq!(told.as_deref(), Some("the 2nd"));
    }
}
