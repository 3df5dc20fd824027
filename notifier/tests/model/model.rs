//! What a notifier is meant to do, said once more: in maps and numbers, without the program's own
//! rules, databases or types. Times are milliseconds.

use std::collections::BTreeMap;

use super::command::{Ending, Filter, Wanted};

/// What a lease lasts beyond the timeout, as docs/state-machines.md has it.
const LEASE_MARGIN: u64 = 15_000;
/// The longest `Retry-After` that is heeded, as docs/notifier.md has it.
const LONGEST_RETRY_AFTER: u64 = 24 * 3_600_000;

/// A quiet time after which failures count anew, as docs/notifier.md has it.
const QUIET: u64 = 48 * 3_600_000;
/// How many attempts in a row must not reach an endpoint for it to be probed, and how long the pause
/// between probes is at the most, as docs/notifier.md has them.
const LOST_AFTER: u32 = 10;
const LONGEST_PAUSE: u64 = 60_000;

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
    pub health: Option<Ill>,
}

/// An endpoint whose last attempt did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ill {
    pub since: u64,
    /// When its last failure ended that was not the fault of our way out.
    pub at_fault: Option<u64>,
    /// Attempts in a row that did not reach it.
    pub missed: u32,
    /// When it is lost or paused: no attempt before, and the one under way.
    pub probe_at: Option<u64>,
    pub probe: Option<Lease>,
    /// Where its receiver asked for a pause: how many times in a row.
    pub asked: Option<u32>,
}

impl Subscription {
    /// Whether one attempt at a time is made: it is lost, or its receiver asked for a pause.
    pub fn held_back(&self) -> bool {
        self.health.is_some_and(|health| health.probe_at.is_some())
    }

    pub fn paused(&self) -> bool {
        self.health.is_some_and(|health| health.asked.is_some())
    }

    pub fn lost(&self) -> bool {
        self.held_back() && !self.paused()
    }

    /// Before this time nothing is handed out.
    fn closed_until(&self) -> u64 {
        let of = |health: Ill| health.probe_at.unwrap_or(0).max(lease_end(health.probe));
        self.health.map_or(0, of)
    }

    fn learn(&mut self, held: &Held, ending: Ending, ended: u64) {
        let is_probe = self.health.is_some_and(|ill| ill.probe == Some(held.lease));
        if ending == Ending::Delivered {
            let kept = self.health.filter(|ill| ill.asked.is_some() && !is_probe);
            self.health = kept.map(|ill| Ill { at_fault: None, missed: 0, ..ill });
            return;
        }
        let began = held.began;
        let fresh = Ill { since: began, at_fault: None, missed: 0, probe_at: None, probe: None, asked: None };
        let mut ill = self.health.unwrap_or(fresh);
        if ending != Ending::NoWayOut {
            if ill.at_fault.is_none_or(|at| began > at + QUIET) {
                ill.since = began;
            }
            ill.at_fault = ill.at_fault.max(Some(ended));
        }
        match ending {
            Ending::NotConnected | Ending::NoWayOut => ill.miss(held, is_probe, ended),
            Ending::Busy(seconds) => ill.pause(seconds, is_probe, ended),
            _ => {
                ill.missed = 0;
                if ill.asked.is_none() || is_probe {
                    (ill.probe_at, ill.probe, ill.asked) = (None, None, None);
                }
            }
        }
        self.health = Some(ill);
    }
}

impl Ill {
    fn miss(&mut self, held: &Held, is_probe: bool, ended: u64) {
        self.missed += 1;
        let next = ended + held.ladder[0].min(LONGEST_PAUSE);
        let lost = self.missed >= LOST_AFTER;
        match self.asked {
            _ if self.probe.is_some() && !is_probe => {}
            Some(_) if !lost && !is_probe => {}
            Some(asked) if !lost => {
                (self.asked, self.probe) = (Some(asked + 1), None);
                self.probe_at = Some(ended + pause(asked + 1, None));
            }
            _ if is_probe => (self.probe_at, self.probe, self.asked) = (Some(next), None, None),
            _ if self.probe_at.is_some() => {
                (self.probe_at, self.asked) = (self.probe_at.max(Some(next)), None);
            }
            _ if lost => self.probe_at = Some(next),
            _ => {}
        }
    }

    /// 503: nothing of the subscription goes out for a while. Attempts that began before make the pause
    /// longer, but count as no answer of their own.
    fn pause(&mut self, seconds: Option<u64>, is_probe: bool, ended: u64) {
        self.missed = 0;
        let asked = self.asked.map_or(1, |asked| asked + u32::from(is_probe));
        let until = ended + pause(asked, seconds);
        let longer = self.probe_at.filter(|at| self.asked.is_some() && !is_probe && *at > until);
        (self.asked, self.probe_at) = (Some(asked), Some(longer.unwrap_or(until)));
        if is_probe {
            self.probe = None;
        }
    }
}

/// In milliseconds, how long a receiver is left alone, as docs/notifier.md has it.
fn pause(asked: u32, retry_after: Option<u64>) -> u64 {
    match retry_after {
        Some(seconds @ 1..) => (seconds * 1000).min(LONGEST_RETRY_AFTER),
        _ => [1_000, 2_000, 4_000, 8_000, 16_000, 32_000].get(asked as usize - 1).copied().unwrap_or(60_000),
    }
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

/// What a program publishes. Sources, ids and contents are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    pub source: usize,
    pub id: usize,
    pub content: usize,
    pub stamped: u64,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    New,
    Known,
    Refused,
}

#[derive(Debug, Default)]
pub struct Model {
    pub now: u64,
    /// The content of every event, by its source and id.
    contents: BTreeMap<(usize, usize), usize>,
    pub subscriptions: Vec<Subscription>,
    pub notifications: BTreeMap<Name, Notification>,
    pub events: usize,
    tokens: u64,
}

impl Model {
    pub fn subscribe(&mut self, ladder: Vec<u64>, timeout: u64) {
        let changed_at = self.now;
        self.subscriptions.push(Subscription {
            life: Life::Active,
            ladder,
            timeout,
            changed_at,
            health: None,
        });
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

    /// Source and id say which event it is; with another content it is none.
    pub fn take(&mut self, publication: Publication) -> Taken {
        let Publication { source, id, content, .. } = publication;
        match self.contents.get(&(source, id)) {
            Some(known) if *known == content => Taken::Known,
            Some(_) => Taken::Refused,
            None => {
                self.contents.insert((source, id), content);
                Taken::New
            }
        }
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
            if room && life == Life::Active && !self.subscriptions[subscription].held_back() {
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

    /// How many of them at once, of `quota` that are asked for: of a lost or paused endpoint one, and only if
    /// it is time and none is under way.
    pub fn at_once(&self, subscription: usize, quota: usize) -> usize {
        let subscription = &self.subscriptions[subscription];
        match subscription.held_back() {
            false => quota,
            true if subscription.closed_until() > self.now => 0,
            true => quota.min(1),
        }
    }

    pub fn claim(&mut self, names: &[Name], token: u64) -> Vec<Held> {
        let held: Vec<Held> = names.iter().map(|name| self.hand_out(*name, token)).collect();
        for held in &held {
            let subscription = &mut self.subscriptions[held.name.0];
            if let Some(health) = subscription.health.as_mut().filter(|health| health.probe_at.is_some()) {
                health.probe = Some(held.lease);
            }
        }
        held
    }

    /// Whether it was still the notification's.
    pub fn give_back(&mut self, held: &Held) -> bool {
        let notification = self.notifications.get_mut(&held.name).expect("known");
        match &mut notification.stage {
            Stage::Waiting { lease, .. } if *lease == Some(held.lease) => *lease = None,
            _ => return false,
        }
        if let Some(health) = &mut self.subscriptions[held.name.0].health {
            health.probe = health.probe.filter(|probe| *probe != held.lease);
        }
        true
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
                    let asked = if let Ending::Busy(Some(seconds)) = ending { seconds * 1000 } else { 0 };
                    let wait = asked.min(LONGEST_RETRY_AFTER).max(*step);
                    Stage::Waiting { due: ended + wait, lease: None }
                }
            },
        };
        if !matches!(ending, Ending::Delivered | Ending::Gone) {
            notification.climb += 1;
        }
        self.subscriptions[held.name.0].learn(held, ending, ended);
        true
    }

    /// Of a group whose results counted, one that failed disables who has failed for too long.
    pub fn fail(&mut self, held: &Held, disable_after: u64) -> bool {
        let health = self.subscriptions[held.name.0].health;
        let overdue = health.is_some_and(|health| health.since + disable_after <= self.now);
        overdue && self.gone(held)
    }

    /// The 410s of a group that counted disable what has not been changed since they were asked for.
    pub fn gone(&mut self, held: &Held) -> bool {
        let subscription = &mut self.subscriptions[held.name.0];
        let living = matches!(subscription.life, Life::Active | Life::Paused);
        if living && subscription.changed_at <= held.began {
            subscription.life = Life::Disabled;
            subscription.changed_at = self.now;
            return true;
        }
        false
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
            let life = match wanted {
                Wanted::Active => Life::Active,
                Wanted::Paused => Life::Paused,
                Wanted::Disabled => Life::Disabled,
            };
            if life == Life::Active && subscription.life != Life::Active {
                subscription.health = None;
            }
            subscription.life = life;
        })
    }

    pub fn delete(&mut self, subscription: usize) -> bool {
        let there = self.change(subscription, |subscription| {
            (subscription.life, subscription.health) = (Life::Deleted, None);
        });
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
            Stage::Waiting { due, .. } => {
                let subscription = &self.subscriptions[name.0];
                let closed_until = if subscription.held_back() { subscription.closed_until() } else { 0 };
                Shown::Pending { at: due.max(closed_until) }
            }
            Stage::Delivered => Shown::Delivered,
            Stage::Exhausted => Shown::Exhausted,
            Stage::Cancelled => Shown::Cancelled,
        }
    }

    /// What waits, and when it becomes due or loses its lease.
    pub fn waiting(&self) -> Vec<(u64, Name)> {
        let waiting = self.notifications.iter().filter_map(|(name, notification)| match notification.stage {
            Stage::Waiting { due, lease } => {
                let free_at = due.max(lease_end(lease));
                let closed_until = self.subscriptions[name.0].closed_until();
                Some((
                    if self.subscriptions[name.0].held_back() { free_at.max(closed_until) } else { free_at },
                    *name,
                ))
            }
            _ => None,
        });
        waiting.collect()
    }
}

fn lease_end(lease: Option<Lease>) -> u64 {
    lease.map_or(0, |lease| lease.until)
}
