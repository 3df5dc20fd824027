//! Sending a test event to a subscription at once, outside the ladder and the log.

use std::sync::Arc;
use std::time::Duration;

use messaging::Event;
use runtime::database::StoreError;
use runtime::duration::HumanDuration;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Tools;
use super::tests_under_way::TestsUnderWay;
use crate::domain::{Attempt, LimitReached, NewEvent, Outcome, RequestTimeout, SubscriptionId};

/// The event's type.
pub const TEST_EVENT: &str = "ringback.test";
/// Shorter than the time an HTTP request to us may take, so that the answer can still be told.
const MAX_TIMEOUT: HumanDuration = HumanDuration(Duration::from_secs(20));
/// How many may be under way for all merchants together: more than a process is asked for when all is well.
const AT_ONCE: usize = 512;

/// Sends test events, a few at once for each merchant.
pub struct TestSubscriptions {
    tools: Tools,
    room: Arc<Semaphore>,
    under_way: TestsUnderWay,
}

/// A test that was made.
#[derive(Debug)]
pub struct Tested {
    /// The test event's id.
    pub event_id: String,
    /// What came of it.
    pub attempt: Attempt,
}

/// Why no test was made.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// Too many are under way.
    #[error("{AT_ONCE} tests are under way in this process; try again when one has ended")]
    Busy,
    /// As many of the merchant are under way as may be.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TestSubscriptions {
    /// Tests with `tools`.
    pub fn new(tools: Tools) -> Self {
        Self { tools, room: Arc::new(Semaphore::new(AT_ONCE)), under_way: TestsUnderWay::default() }
    }

    /// Sends a signed test event to the subscription, whatever its state, and waits for the answer;
    /// 410 disables nothing. A success holds nothing against the endpoint any more. `None`: it is not there, or not the owner's.
    pub async fn test(&self, id: SubscriptionId, owner: Option<&str>) -> Result<Option<Tested>, TestError> {
        let _permit = self.room.try_acquire().map_err(|_| TestError::Busy)?;
        let store = &self.tools.store;
        let Some(subscription) = store.subscription(id, owner).await? else { return Ok(None) };
        let _place = self.under_way.begin(subscription.merchant, self.tools.limits.tests)?;
        let directory = store.directory().await?;
        let Some(entry) = directory.get(id) else { return Ok(None) };
        let mut endpoint = (*entry.endpoint).clone();
        let longest = RequestTimeout::new(MAX_TIMEOUT).expect("20 s is allowed");
        endpoint.timeout = endpoint.timeout.min(longest);
        let event = self.event(id);
        let exchange = self.tools.sender.send(&endpoint, &event.message()).await;
        if exchange.outcome == Outcome::Delivered {
            // It is there after all: what waits need not wait for the next probe.
            store.forget_health(id).await?;
            self.tools.schedule.look_unpaused(id);
        }
        Ok(Some(Tested { event_id: event.id, attempt: Attempt::new(1, exchange) }))
    }

    fn event(&self, id: SubscriptionId) -> NewEvent {
        let sources = &self.tools.sources;
        let data = json!({ "subscription_id": id.0, "message": "a test of this subscription" });
        let event = Event::new(sources.ids.next(), "/notifier", TEST_EVENT, sources.clock.now(), &data);
        NewEvent::from(&event.expect("text keys only"))
    }
}
