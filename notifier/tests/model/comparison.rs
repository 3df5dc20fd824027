//! What the store shows beside what the model says.

use std::collections::BTreeMap;

use notifier::domain::notification::StateName;
use notifier::domain::probing::{Cause, Probe, Probing};
use notifier::domain::{FailureClass, Health, Notification, NotificationState, Outcome};
use notifier::store::{NotificationDetail, NotificationFilter};
use runtime::http::Page;
use runtime::testing::property::Seen;

use super::command::Ending;
use super::driver::Driver;
use super::model::{Ill, Life, Name, Shown};

impl Driver {
    /// The log, and what is due when.
    pub(super) async fn look(&self) {
        let page = Page { limit: 200, after: None };
        let listed = self.store.notifications(&NotificationFilter::default(), page, self.now()).await;
        let listed = listed.expect("a store");
        assert_eq!(listed.len(), self.model.notifications.len(), "none lost, none invented");
        for notification in &listed {
            self.compare(self.names[&notification.id], notification);
        }
        self.look_at_endpoints().await;
    }

    /// How each endpoint does, and when it is to be looked for work again.
    async fn look_at_endpoints(&self) {
        let kept = self.store.health(&self.subscriptions).await.expect("a store");
        let next = self.store.next_due(&self.subscriptions).await.expect("a store");
        let next: BTreeMap<_, _> = next.into_iter().collect();
        for (number, id) in self.subscriptions.iter().enumerate() {
            let subscription = &self.model.subscriptions[number];
            // The model does not know why attempts fail.
            let kept = kept.get(id).map(|health| Health { failure_class: None, ..*health });
            assert_eq!(kept, subscription.health.map(|health| self.health(health)));
            if subscription.life != Life::Deleted {
                let waiting = self.model.waiting().into_iter().filter(|(_, name)| name.0 == number);
                let expected = waiting.map(|(due, _)| self.time(due)).min();
                assert_eq!(next.get(id).copied(), expected, "of subscription {number}");
            }
        }
    }

    fn health(&self, health: Ill) -> Health {
        let probe = health
            .probe
            .map(|lease| Probe { token: self.tokens[&lease.token], until: self.time(lease.until) });
        let cause = health.asked.map_or(Cause::Unreached, |answers| Cause::ReceiverPause { answers });
        Health {
            failing_since: self.time(health.since),
            failed_at: health.at_fault.map(|at| self.time(at)),
            unreached: health.missed,
            failure_class: None,
            probing: health.probe_at.map(|at| Probing { not_before: self.time(at), probe, cause }),
        }
    }

    pub(super) fn compare(&self, name: Name, notification: &Notification) {
        let shown = match notification.state {
            NotificationState::Pending { next_attempt_at } => Ok(next_attempt_at),
            NotificationState::Delivering { until } => Ok(until),
            _ => Err(notification.state.name()),
        };
        let (state, expected) = match self.model.shown(name) {
            Shown::Pending { at } => (StateName::Pending, Ok(self.time(at))),
            Shown::Delivering { until } => (StateName::Delivering, Ok(self.time(until))),
            Shown::Held => (StateName::Held, Err(StateName::Held)),
            Shown::Delivered => (StateName::Delivered, Err(StateName::Delivered)),
            Shown::Exhausted => (StateName::Exhausted, Err(StateName::Exhausted)),
            Shown::Cancelled => (StateName::Cancelled, Err(StateName::Cancelled)),
        };
        assert_eq!((notification.state.name(), shown), (state, expected), "{name:?}");
        assert_eq!(notification.attempts as usize, self.model.notifications[&name].attempts.len());
    }

    /// Everything, down to every attempt's entry in the log.
    pub async fn finish(mut self) -> Seen {
        while self.replaying.is_some() {
            self.advance_replay(200).await;
        }
        self.look().await;
        for (name, expected) in &self.model.notifications {
            if expected.attempts.len() < 2 {
                continue; // The list has said that there is one, or none.
            }
            let detail = self.store.notification(self.id(*name), None, self.now()).await.expect("a store");
            let NotificationDetail { attempts, .. } = detail.expect("none is lost");
            let logged: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
            let endings = expected.attempts.iter().map(|ending| outcome(*ending).0);
            let expected: Vec<_> = (1..).zip(endings).collect();
            assert_eq!(logged, expected, "every attempt that counted, without gap or double");
        }
        for (what, stage) in [("exhausted", Shown::Exhausted), ("held", Shown::Held)] {
            let times = self.names.values().filter(|name| self.model.shown(**name) == stage).count();
            self.saw(what, times);
        }
        self.seen
    }
}

/// What an attempt that ends so is logged as.
pub fn outcome(ending: Ending) -> (Outcome, Option<u16>) {
    match ending {
        Ending::Delivered => (Outcome::Delivered, Some(200)),
        Ending::Failed => (Outcome::Failed(FailureClass::Status), Some(500)),
        Ending::Busy(_) => (Outcome::Failed(FailureClass::Status), Some(503)),
        Ending::TimedOut => (Outcome::Failed(FailureClass::Timeout), None),
        Ending::NotConnected => (Outcome::Failed(FailureClass::Connect), None),
        Ending::NoWayOut => (Outcome::Failed(FailureClass::Proxy), None),
        Ending::Gone => (Outcome::Gone, Some(410)),
    }
}
