//! How many tests of each merchant's subscriptions are under way in this process. A test of an endpoint that hangs
//! holds a place here for the request's timeout, and nothing else: no database connection, no slot of the engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::LimitReached;

/// The merchants with tests under way, and how many; `None` is the operator.
type Counts = HashMap<Option<String>, u32>;

/// Counts the tests under way.
#[derive(Debug, Clone, Default)]
pub(super) struct TestsUnderWay(Arc<Mutex<Counts>>);

/// A test under way, until it is dropped.
#[derive(Debug)]
pub(super) struct TestUnderWay {
    all: TestsUnderWay,
    merchant: Option<String>,
}

impl TestsUnderWay {
    /// Begins a test for `merchant`, unless `limit` of its tests are under way.
    pub(super) fn begin(&self, merchant: Option<String>, limit: u32) -> Result<TestUnderWay, LimitReached> {
        let mut counts = self.counts();
        let count = counts.entry(merchant.clone()).or_default();
        if *count >= limit {
            return Err(LimitReached::Tests(limit));
        }
        *count += 1;
        Ok(TestUnderWay { all: self.clone(), merchant })
    }

    /// Counts stay right when a holder of the lock panics: each change is one step.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestUnderWay {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        if let Some(count) = counts.get_mut(&self.merchant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.merchant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_merchant_has_places_of_its_own_and_an_ended_test_frees_one() {
        let tests = TestsUnderWay::default();
        let shop = || tests.begin(Some("shop".into()), 2);
        let first = shop().expect("room");
        let second = shop().expect("room");
        assert_eq!(shop().expect_err("two are the limit"), LimitReached::Tests(2));
        let operator = tests.begin(None, 2).expect("another merchant's tests take no room");
        drop(first);
        drop(shop().expect("one has ended"));
        drop((second, operator));
        assert!(tests.counts().is_empty(), "nothing is kept of merchants without tests");
    }
}
