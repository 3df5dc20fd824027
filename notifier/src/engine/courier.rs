//! Takes a leased delivery through its attempt: send, decide, record. No database connection is
//! held while the receiver is waited for (law 6).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use runtime::batcher::Batcher;
use runtime::trace::Spans;
use runtime::{SharedClock, Shutdown};
use tokio_util::task::TaskTracker;

use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, NotificationId, Verdict};
use crate::store::Recorded;
use crate::webhook::SendWebhook;

use super::attempt_span::AttemptSpan;
use super::metrics::Metrics;
use super::recorder::{Fate, Recorder};
use super::schedule::Schedule;
use super::slots::Slot;

/// Starts attempts, each as a task of its own.
#[derive(Clone)]
pub struct Courier {
    pub(super) sender: Arc<dyn SendWebhook>,
    pub(super) recorder: Batcher<Recorder>,
    pub(super) schedule: Schedule,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: Shutdown,
    pub(super) spans: Spans,
}

impl Courier {
    /// Starts the attempt at `delivery` now; `slot` is held until its result is recorded.
    pub fn dispatch(&self, delivery: Delivery, slot: Slot) {
        let courier = self.clone();
        let attempt = async move { courier.deliver(delivery, slot).await };
        let shutdown = self.shutdown.clone();
        // What is dropped here keeps its lease and is tried again when that is over.
        self.tasks.spawn(async move { shutdown.unless_hard(attempt).await });
    }

    async fn deliver(&self, mut delivery: Delivery, mut slot: Slot) {
        let now = self.clock.now();
        if now + delivery.endpoint.timeout.get() >= delivery.lease.until() {
            self.lose(delivery.notification, "too little of the lease is left to begin");
            return;
        }
        slot.start(now);
        if delivery.number == 1 {
            self.metrics
                .first_attempt((now - made_at(delivery.notification, now)).to_std().unwrap_or_default());
        }
        let span = AttemptSpan::of(&delivery, &self.spans);
        delivery.message.traceparent = Some(span.traceparent());
        let in_flight = self.metrics.in_flight();
        let exchange = self.sender.send(&delivery.endpoint, &delivery.message).await;
        drop(in_flight);
        slot.end(&exchange, self.clock.now());
        self.metrics.attempted(&exchange);
        span.finish(&delivery, &exchange, &self.spans);
        self.record(delivery.conclude(exchange)).await;
    }

    async fn record(&self, result: AttemptResult) {
        let (notification, verdict) = (result.notification, result.verdict);
        let subscription = result.subscription;
        match self.recorder.submit(result).await {
            Ok(Fate::Stored(Recorded::Counted)) => {
                self.metrics.counted(verdict);
                match verdict {
                    Verdict::RetryAt(at) => self.schedule.look_at(subscription, at),
                    Verdict::Exhausted => {
                        tracing::warn!(%subscription, %notification, "notification.exhausted");
                    }
                    Verdict::Delivered | Verdict::Gone => {}
                }
            }
            Ok(Fate::Stored(Recorded::Late)) => {
                self.lose(notification, "taken over, resent or cancelled meanwhile");
            }
            Ok(Fate::Unwritten) => self.lose(notification, "the result could not be written in time"),
            Err(_stopping) => {}
        }
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
