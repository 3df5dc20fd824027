//! When the database is to be asked for due work, and whose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::domain::SubscriptionId;

/// The times of the next looks for due work. Clones share them.
#[derive(Clone)]
pub struct Schedule {
    looks: Arc<Mutex<Looks>>,
    wake: Arc<Notify>,
}

/// Whose due work is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// That of these: when work of theirs becomes due is known to the moment.
    These(Vec<SubscriptionId>),
    /// Everybody's, so that nothing stays unseen for long.
    Everybody,
}

#[derive(Default)]
struct Looks {
    everybody: DateTime<Utc>,
    /// Of each subscription the first time at which work is known to become due, and the same by time.
    times: BTreeMap<SubscriptionId, DateTime<Utc>>,
    in_turn: BTreeSet<(DateTime<Utc>, SubscriptionId)>,
    /// Whose endpoints are known to take requests again, or are others.
    unpaused: BTreeSet<SubscriptionId>,
}

impl Looks {
    fn next(&self) -> DateTime<Utc> {
        self.in_turn.first().map_or(self.everybody, |(time, _)| self.everybody.min(*time))
    }

    fn take_due(&mut self, now: DateTime<Utc>) -> Vec<SubscriptionId> {
        let mut due = Vec::new();
        while let Some((time, subscription)) = self.in_turn.first().copied()
            && time <= now
        {
            self.in_turn.pop_first();
            self.times.remove(&subscription);
            due.push(subscription);
        }
        due
    }
}

impl Schedule {
    /// Work is looked for at once. `wake` rings when the next look is brought forward.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { looks: Arc::default(), wake }
    }

    /// Anybody's work may be due now: someone resent, resumed or changed something.
    pub fn look_now(&self) {
        self.bring_forward(|looks| looks.everybody = DateTime::UNIX_EPOCH);
    }

    /// Work of `subscription` may be due now, and a pause that its receiver asked for is over: a test
    /// succeeded, or it was activated or got another URL.
    pub fn look_unpaused(&self, subscription: SubscriptionId) {
        self.lock().unpaused.insert(subscription);
        self.look_now();
    }

    /// Those whose receivers' pauses are over since the last call.
    pub fn take_unpaused(&self) -> BTreeSet<SubscriptionId> {
        std::mem::take(&mut self.lock().unpaused)
    }

    /// Work of `subscription` becomes due at `time`.
    pub fn look_at(&self, subscription: SubscriptionId, time: DateTime<Utc>) {
        self.bring_forward(|looks| {
            let known = looks.times.get(&subscription).copied();
            if known.is_none_or(|known| time < known) {
                if let Some(known) = known {
                    looks.in_turn.remove(&(known, subscription));
                }
                looks.times.insert(subscription, time);
                looks.in_turn.insert((time, subscription));
            }
        });
    }

    /// Whose work to look for at `now`, if anybody's. Everybody's is looked for again at `latest`, once it
    /// has been.
    pub fn begin(&self, now: DateTime<Utc>, latest: DateTime<Utc>) -> Option<Look> {
        let mut looks = self.lock();
        let due = looks.take_due(now);
        if looks.everybody <= now {
            looks.everybody = latest;
            return Some(Look::Everybody);
        }
        (!due.is_empty()).then_some(Look::These(due))
    }

    /// The time of the next look.
    pub fn next(&self) -> DateTime<Utc> {
        self.lock().next()
    }

    /// The bell that wakes the dispatcher.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn bring_forward(&self, change: impl FnOnce(&mut Looks)) {
        let mut looks = self.lock();
        let before = looks.next();
        change(&mut looks);
        if looks.next() < before {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + seconds, 0).expect("a time")
    }

    fn subscription(number: u128) -> SubscriptionId {
        SubscriptionId(Uuid::from_u128(number))
    }

    /// A schedule by which everybody was looked for at 0 and will be at 100.
    fn schedule() -> Schedule {
        let schedule = Schedule::new(Arc::default());
        assert_eq!(schedule.begin(at(0), at(100)), Some(Look::Everybody));
        schedule
    }

    #[test]
    fn each_is_looked_for_when_its_first_work_becomes_due_and_not_again() {
        let schedule = schedule();
        for (number, time) in [(1, 20), (2, 10), (1, 5), (1, 30), (3, 50)] {
            schedule.look_at(subscription(number), at(time));
        }
        assert_eq!(schedule.next(), at(5));
        assert_eq!(schedule.begin(at(4), at(104)), None);
        assert_eq!(
            schedule.begin(at(10), at(110)),
            Some(Look::These(vec![subscription(1), subscription(2)]))
        );
        assert_eq!(schedule.begin(at(40), at(140)), None);
        assert_eq!(schedule.begin(at(50), at(150)), Some(Look::These(vec![subscription(3)])));
        assert_eq!(schedule.next(), at(100));
    }

    #[test]
    fn a_look_for_everybody_is_one_for_each() {
        let schedule = schedule();
        schedule.look_at(subscription(1), at(10));
        schedule.look_now();
        assert_eq!(schedule.begin(at(20), at(120)), Some(Look::Everybody));
        assert_eq!(schedule.begin(at(20), at(120)), None);
        assert_eq!(schedule.next(), at(120));
    }

    #[tokio::test]
    async fn the_bell_rings_when_a_look_is_brought_forward_and_only_then() {
        let schedule = schedule();
        schedule.look_at(subscription(1), at(10));
        schedule.wake().notified().await;
        schedule.look_at(subscription(2), at(20));
        tokio::select! {
            biased;
            () = schedule.wake.notified() => panic!("that is later than the next look"),
            () = std::future::ready(()) => {}
        }
    }
}
