//! Takes a leased delivery through its attempt: send, decide, record. No database connection is
//! held while the receiver is waited for (law 6).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use runtime::batcher::Batcher;
use runtime::trace::Spans;
use runtime::{SharedClock, Shutdown};
use tokio_util::task::TaskTracker;

use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, Exchange, NotificationId, Verdict};
use crate::store::{Recorded, Unused};
use crate::webhook::SendWebhook;

use super::attempt_span::AttemptSpan;
use super::metrics::Metrics;
use super::recorder::{Fate, Recorder};
use super::returner::Returner;
use super::schedule::Schedule;
use super::slots::Slot;

/// Starts attempts, each as a task of its own.
pub struct Courier {
    pub(super) sender: Arc<dyn SendWebhook>,
    pub(super) recorder: Batcher<Recorder>,
    pub(super) returner: Batcher<Returner>,
    pub(super) schedule: Schedule,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: Shutdown,
    pub(super) spans: Spans,
}

impl Courier {
    /// Starts the attempt at `delivery` as soon as it is its turn; `slot` is held until its result is recorded.
    pub fn dispatch(self: &Arc<Self>, delivery: Delivery, slot: Slot) {
        let courier = self.clone();
        // Boxed, since a task is moved more than once and an attempt is large.
        let attempt = Box::pin(async move {
            // What is dropped here keeps its lease and is tried again when that is over.
            courier.shutdown.unless_hard(courier.deliver(delivery, slot)).await
        });
        self.tasks.spawn(attempt);
    }

    async fn deliver(&self, mut delivery: Delivery, mut slot: Slot) {
        if !slot.ready().await {
            return self.give_back(&delivery, slot).await;
        }
        let now = self.clock.now();
        if now + delivery.endpoint.timeout.get() >= delivery.lease.until() {
            self.lose(delivery.notification, "too little of the lease is left to begin");
            return;
        }
        if !slot.start(self.clock.steady()) {
            return self.give_back(&delivery, slot).await;
        }
        if delivery.number == 1 {
            self.metrics
                .first_attempt((now - made_at(delivery.notification, now)).to_std().unwrap_or_default());
        }
        let span = AttemptSpan::of(&delivery, &self.spans);
        delivery.message.traceparent = Some(span.traceparent());
        let in_flight = self.metrics.in_flight();
        let exchange = self.sender.send(&delivery.endpoint, &delivery.message).await;
        drop(in_flight);
        slot.end(&exchange, self.clock.steady());
        self.metrics.attempted(&exchange);
        span.finish(&delivery, &exchange, &self.spans);
        if self.record(self.conclude(&delivery, exchange)).await {
            slot.stored(self.clock.steady());
        }
    }

    /// The result of an attempt that has ended. While the clock is not trusted nothing is given up: the
    /// last step of the ladder may have come early.
    fn conclude(&self, delivery: &Delivery, exchange: Exchange) -> AttemptResult {
        let mut result = delivery.conclude(exchange);
        if result.verdict == Verdict::Exhausted && !self.clock.is_trusted() {
            result.verdict = Verdict::last_step_again(delivery.endpoint.ladder(), self.clock.now());
        }
        result
    }

    /// The notification waits in the database again, unattempted. If that can't be written, it does when
    /// its lease is over.
    async fn give_back(&self, delivery: &Delivery, slot: Slot) {
        let _ = self.returner.submit(Unused::from(delivery)).await;
        slot.given_back();
    }

    /// Whether the result is stored and counts.
    async fn record(&self, result: AttemptResult) -> bool {
        let (notification, verdict) = (result.notification, result.verdict);
        let subscription = result.subscription;
        match self.recorder.submit(result).await {
            Ok(Fate::Stored(Recorded::Counted)) => {
                self.metrics.counted(verdict);
                match verdict {
                    Verdict::RetryAt(at) => self.schedule.look_at(subscription, self.clock.steady_at(at)),
                    Verdict::Exhausted => {
                        tracing::warn!(%subscription, %notification, "notification.exhausted");
                    }
                    Verdict::Delivered | Verdict::Gone => {}
                }
                return true;
            }
            Ok(Fate::Stored(Recorded::Late)) => {
                self.lose(notification, "taken over, resent or cancelled meanwhile");
            }
            Ok(Fate::Unwritten) => self.lose(notification, "the result could not be written in time"),
            Err(_stopping) => {}
        }
        false
    }

    fn lose(&self, notification: NotificationId, reason: &'static str) {
        self.metrics.leases_lost.inc();
        tracing::warn!(%notification, reason, "attempt.lease_lost");
    }
}

/// When the event was made, told from the notification's id, which keeps the event key's time.
fn made_at(notification: NotificationId, now: DateTime<Utc>) -> DateTime<Utc> {
    let timestamp = notification.0.get_timestamp().map(|at| at.to_unix());
    let made =
        timestamp.and_then(|(seconds, nanos)| DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos));
    made.unwrap_or(now)
}
