//! What a notifier is meant to do, said once more: in maps and numbers, without the program's own
//! rules, databases or types. Times are milliseconds.

use std::collections::BTreeMap;

use super::command::{Ending, Filter, Wanted};

/// What a lease lasts beyond the timeout, as docs/state-machines.md has it.
const LEASE_MARGIN: u64 = 15_000;
/// The longest `Retry-After` that is heeded, as docs/notifier.md has it.
const LONGEST_RETRY_AFTER: u64 = 24 * 3_600_000;

/// Subscription and event: the notification's name in the model.
pub type Name = (usize, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Active,
    Paused,
    Disabled,
    Deleted,
}

#[derive(Debug, Clone)]
pub struct Subscription {
    pub life: Life,
    /// The waits in milliseconds.
    pub ladder: Vec<u64>,
    pub timeout: u64,
    changed_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub token: u64,
    pub until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Waiting { due: u64, lease: Option<Lease> },
    Delivered,
    Exhausted,
    Cancelled,
}

#[derive(Debug, Clone)]
pub struct Notification {
    pub stage: Stage,
    /// How every attempt that counted has ended.
    pub attempts: Vec<Ending>,
    /// Failures of this climb.
    pub climb: usize,
    /// Whether it stands among the retries.
    pub again: bool,
    pub created_at: u64,
}

/// What is shown of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Pending { at: u64 },
    Delivering { until: u64 },
    Held,
    Delivered,
    Exhausted,
    Cancelled,
}

/// An attempt that a process has in its hands.
#[derive(Debug, Clone)]
pub struct Held {
    pub name: Name,
    pub lease: Lease,
    pub began: u64,
    /// As they were when it was handed out.
    ladder: Vec<u64>,
    timeout: u64,
}

impl Held {
    /// When the attempt ended if it is looked at now: never later than its timeout.
    pub fn ended(&self, now: u64) -> u64 {
        now.min(self.began + self.timeout)
    }
}

#[derive(Debug, Default)]
pub struct Model {
    pub now: u64,
    pub subscriptions: Vec<Subscription>,
    pub notifications: BTreeMap<Name, Notification>,
    pub events: usize,
    tokens: u64,
}

impl Model {
    pub fn subscribe(&mut self, ladder: Vec<u64>, timeout: u64) {
        self.subscriptions.push(Subscription { life: Life::Active, ladder, timeout, changed_at: self.now });
    }

    pub fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    fn hand_out(&mut self, name: Name, token: u64) -> Held {
        let Subscription { ladder, timeout, .. } = self.subscriptions[name.0].clone();
        let lease = Lease { token, until: self.now + timeout + LEASE_MARGIN };
        let notification = self.notifications.get_mut(&name).expect("known");
        let Stage::Waiting { due, .. } = notification.stage else { panic!("{name:?} does not wait") };
        notification.stage = Stage::Waiting { due, lease: Some(lease) };
        Held { name, lease, began: self.now, ladder, timeout }
    }

    /// A new event; the attempts that begin at once where there is `room`.
    pub fn ingest(&mut self, room: bool, token: u64) -> Vec<Held> {
        let event = self.events;
        self.events += 1;
        let mut held = Vec::new();
        for subscription in 0..self.subscriptions.len() {
            let life = self.subscriptions[subscription].life;
            if life == Life::Deleted {
                continue;
            }
            let name = (subscription, event);
            let stage = Stage::Waiting { due: self.now, lease: None };
            let (attempts, created_at) = (Vec::new(), self.now);
            let fresh = Notification { stage, attempts, climb: 0, again: false, created_at };
            self.notifications.insert(name, fresh);
            if room && life == Life::Active {
                held.push(self.hand_out(name, token));
            }
        }
        held
    }

    /// What may be handed out now: retries, or what is no retry.
    pub fn due(&self, subscription: usize, again: bool) -> Vec<(u64, Name)> {
        if self.subscriptions[subscription].life != Life::Active {
            return Vec::new();
        }
        let own =
            self.notifications.iter().filter(|(name, one)| name.0 == subscription && one.again == again);
        let due = own.filter_map(|(name, notification)| match notification.stage {
            Stage::Waiting { due, lease } if due.max(lease_end(lease)) <= self.now => Some((due, *name)),
            _ => None,
        });
        due.collect()
    }

    pub fn claim(&mut self, names: &[Name], token: u64) -> Vec<Held> {
        names.iter().map(|name| self.hand_out(*name, token)).collect()
    }

    /// Whether the result counts.
    pub fn record(&mut self, held: &Held, ending: Ending, ended: u64) -> bool {
        let notification = self.notifications.get_mut(&held.name).expect("known");
        let Stage::Waiting { lease: Some(lease), .. } = notification.stage else { return false };
        if lease.token != held.lease.token {
            return false;
        }
        notification.attempts.push(ending);
        notification.again = true;
        notification.stage = match ending {
            Ending::Delivered => Stage::Delivered,
            Ending::Gone => Stage::Waiting { due: self.now, lease: None },
            _ => match held.ladder.get(notification.climb) {
                None => Stage::Exhausted,
                Some(step) => {
                    let asked = if let Ending::Busy(seconds) = ending { seconds * 1000 } else { 0 };
                    let wait = asked.min(LONGEST_RETRY_AFTER).max(*step);
                    Stage::Waiting { due: ended + wait, lease: None }
                }
            },
        };
        if !matches!(ending, Ending::Delivered | Ending::Gone) {
            notification.climb += 1;
        }
        true
    }

    /// The 410s of a group that counted disable what has not been changed since they were asked for.
    pub fn gone(&mut self, held: &Held) {
        let subscription = &mut self.subscriptions[held.name.0];
        let living = matches!(subscription.life, Life::Active | Life::Paused);
        if living && subscription.changed_at <= held.began {
            subscription.life = Life::Disabled;
            subscription.changed_at = self.now;
        }
    }

    /// Whether it was there.
    pub fn change(&mut self, subscription: usize, change: impl FnOnce(&mut Subscription)) -> bool {
        let now = self.now;
        let subscription = &mut self.subscriptions[subscription];
        let there = subscription.life != Life::Deleted;
        if there {
            change(subscription);
            subscription.changed_at = now;
        }
        there
    }

    pub fn set_state(&mut self, subscription: usize, wanted: Wanted) -> bool {
        self.change(subscription, |subscription| {
            subscription.life = match wanted {
                Wanted::Active => Life::Active,
                Wanted::Paused => Life::Paused,
                Wanted::Disabled => Life::Disabled,
            };
        })
    }

    pub fn delete(&mut self, subscription: usize) -> bool {
        let there = self.change(subscription, |subscription| subscription.life = Life::Deleted);
        for (name, notification) in &mut self.notifications {
            if name.0 == subscription && matches!(notification.stage, Stage::Waiting { .. }) {
                notification.stage = Stage::Cancelled;
            }
        }
        there
    }

    /// Whether it could be resent, by itself or in a replay.
    pub fn resend(&mut self, name: Name, in_replay: bool) -> bool {
        let deleted = self.subscriptions[name.0].life == Life::Deleted;
        if deleted || matches!(self.shown(name), Shown::Delivering { .. }) {
            return false;
        }
        let notification = self.notifications.get_mut(&name).expect("known");
        notification.stage = Stage::Waiting { due: self.now, lease: None };
        notification.climb = 0;
        notification.again = in_replay && !notification.attempts.is_empty();
        true
    }

    /// Whether it could be cancelled.
    pub fn cancel(&mut self, name: Name) -> bool {
        let notification = self.notifications.get_mut(&name).expect("known");
        let waits = matches!(notification.stage, Stage::Waiting { .. });
        if waits {
            notification.stage = Stage::Cancelled;
        }
        waits
    }

    /// Those of a subscription that came in until `until` and are in that state now, oldest first.
    pub fn matching(&self, subscription: usize, until: u64, filter: Option<Filter>) -> Vec<(u64, Name)> {
        let own = self.notifications.iter().filter(|(name, _)| name.0 == subscription);
        let matching = own.filter(|(name, notification)| {
            let wanted = match (filter, self.shown(**name)) {
                (None, _)
                | (Some(Filter::Pending), Shown::Pending { .. })
                | (Some(Filter::Held), Shown::Held)
                | (Some(Filter::Delivered), Shown::Delivered)
                | (Some(Filter::Exhausted), Shown::Exhausted)
                | (Some(Filter::Cancelled), Shown::Cancelled) => true,
                (Some(_), _) => false,
            };
            wanted && notification.created_at <= until
        });
        matching.map(|(name, notification)| (notification.created_at, *name)).collect()
    }

    pub fn shown(&self, name: Name) -> Shown {
        match self.notifications[&name].stage {
            Stage::Waiting { lease: Some(Lease { until, .. }), .. } if until > self.now => {
                Shown::Delivering { until }
            }
            Stage::Waiting { .. } if self.subscriptions[name.0].life != Life::Active => Shown::Held,
            Stage::Waiting { due, .. } => Shown::Pending { at: due },
            Stage::Delivered => Shown::Delivered,
            Stage::Exhausted => Shown::Exhausted,
            Stage::Cancelled => Shown::Cancelled,
        }
    }

    /// What waits, and when it becomes due or loses its lease.
    pub fn waiting(&self) -> Vec<(u64, Name)> {
        let waiting = self.notifications.iter().filter_map(|(name, notification)| match notification.stage {
            Stage::Waiting { due, lease } => Some((due.max(lease_end(lease)), *name)),
            _ => None,
        });
        waiting.collect()
    }
}

fn lease_end(lease: Option<Lease>) -> u64 {
    lease.map_or(0, |lease| lease.until)
}
