//! A consumer of one queue in the file.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runtime::problem::Chain;
use tokio::time::{Instant, timeout_at};

use super::presence::Seat;
use super::settling::Settled;
use super::{POLL, Shared};
use crate::broker::{BrokerError, Consumer, Delivery, Settlement};

pub(super) struct SqliteConsumer {
    shared: Arc<Shared>,
    seat: Seat,
    queue: String,
    prefetch: usize,
    held: usize,
}

impl SqliteConsumer {
    pub(super) fn new(shared: Arc<Shared>, seat: Seat, queue: String, prefetch: u16) -> Self {
        Self { shared, seat, queue, prefetch: usize::from(prefetch.max(1)), held: 0 }
    }

    /// Waits until a message is ready, woken by this process and polling for others'. Answers how
    /// many are, up to `limit`; none when `deadline` has passed.
    async fn ready(&self, limit: i64, deadline: Instant) -> Result<i64, BrokerError> {
        let wake = self.shared.wake(&self.queue);
        loop {
            let mut woken = std::pin::pin!(wake.notified());
            woken.as_mut().enable();
            self.shared.clamp().await?;
            let sight = self.shared.store.look(&self.queue, limit).await?;
            if sight.unseen {
                self.shared.store.bury_the_dead(&self.seat.living()).await?;
                continue;
            }
            if sight.due {
                self.shared.store.return_due().await?;
                continue;
            }
            if sight.ready > 0 || Instant::now() >= deadline {
                return Ok(sight.ready);
            }
            // Woken or not: look again.
            let _ = timeout_at(deadline.min(Instant::now() + POLL), woken).await;
        }
    }

    fn holds(&mut self, messages: usize) {
        self.held = messages;
        self.seat.hold(messages);
    }
}

#[async_trait]
impl Consumer for SqliteConsumer {
    async fn receive(
        &mut self,
        max: usize,
        wait: Duration,
        linger: Duration,
    ) -> Result<Vec<Delivery>, BrokerError> {
        let deadline = Instant::now() + wait;
        let room = max.min(self.prefetch.saturating_sub(self.held));
        if room == 0 {
            tokio::time::sleep_until(deadline).await;
            return Ok(Vec::new());
        }
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let ready = self.ready(limit, deadline).await?;
        if ready == 0 {
            return Ok(Vec::new());
        }
        if ready < limit && !linger.is_zero() {
            tokio::time::sleep(linger).await;
        }
        let deliveries = self.shared.store.take(self.seat.id, &self.queue, limit).await?;
        self.holds(self.held + deliveries.len());
        Ok(deliveries)
    }

    async fn settle(&mut self, settlements: Vec<(u64, Settlement)>) -> Result<(), BrokerError> {
        let asked = settlements.len();
        let settled = Settled::sort(settlements, &self.shared.ids);
        let requeued = !settled.requeued.is_empty();
        let held = self.shared.store.settle(self.seat.id, &settled).await?;
        self.holds(self.held.saturating_sub(asked));
        if requeued {
            self.shared.wake(&self.queue).notify_waiters();
        }
        if held == asked as u64 {
            Ok(())
        } else {
            Err(BrokerError::unavailable("some of the messages are no longer this consumer's"))
        }
    }
}

/// Dropping can't wait, so a task gives the messages back; if there is no runtime to run it any
/// more, the process is ending, and they come back when the consumer has gone unseen.
impl Drop for SqliteConsumer {
    fn drop(&mut self) {
        let (shared, id, queue) = (self.shared.clone(), self.seat.id, self.queue.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            match shared.store.leave(id).await {
                Ok(()) => shared.wake(&queue).notify_waiters(),
                Err(error) => tracing::warn!(error = %Chain(&error), "broker.leave_failed"),
            }
        });
    }
}
