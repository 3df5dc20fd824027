//! How much waits, and when that is worth telling.

use chrono::{DateTime, TimeDelta, Utc};

use super::SubscriptionId;

/// How much waits, and for how long its oldest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Extent {
    /// Notifications.
    pub waiting: u64,
    /// The age of the oldest of them.
    pub age: TimeDelta,
}

/// From which extent on operators are told of a backlog that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one subscription; either of the two suffices.
    pub each: Extent,
    /// For all together.
    pub total: u64,
}

/// What is remembered of a backlog from one measurement to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// How much waited.
    pub waiting: u64,
    /// Whether operators have been told, and it has not calmed down since.
    pub announced: bool,
}

impl Remembered {
    /// What is remembered after a measurement has found `extent`. Told is what grows beyond `limit`,
    /// once until it has fallen to half of it.
    #[must_use]
    pub fn after(self, extent: Extent, limit: Extent) -> Self {
        let beyond = extent.waiting >= limit.waiting || extent.age >= limit.age;
        let calm = extent.waiting <= limit.waiting / 2 && extent.age <= limit.age / 2;
        let announced = if self.announced { !calm } else { beyond && extent.waiting > self.waiting };
        Self { waiting: extent.waiting, announced }
    }
}

/// What waits for one subscription, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// For whom.
    pub subscription: SubscriptionId,
    /// All that is not final.
    pub waiting: u64,
    /// Those of them with an attempt under way.
    pub delivering: u64,
    /// When the oldest came in.
    pub oldest_at: DateTime<Utc>,
    /// The earliest time at which one that has no attempt under way is due.
    pub due_at: Option<DateTime<Utc>>,
}

impl Backlog {
    /// Its extent at `now`.
    pub fn extent(&self, now: DateTime<Utc>) -> Extent {
        Extent { waiting: self.waiting, age: now - self.oldest_at }
    }
}

/// What waits for all subscriptions together, by the state it is shown in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When it was measured; `None`: never yet.
    pub measured_at: Option<DateTime<Utc>>,
    /// Waits for its next attempt.
    pub pending: u64,
    /// An attempt is under way.
    pub delivering: u64,
    /// Waits for its subscription to be active.
    pub held: u64,
    /// When the oldest of active subscriptions came in.
    pub oldest_pending_at: Option<DateTime<Utc>>,
    /// When the oldest of the others came in.
    pub oldest_held_at: Option<DateTime<Utc>>,
    /// The earliest time at which one of an active subscription is due whose endpoint can be reached.
    pub due_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Extent = Extent { waiting: 100, age: TimeDelta::hours(1) };

    fn told(steps: &[(u64, i64)]) -> Vec<bool> {
        let mut remembered = Remembered::default();
        let step = |(waiting, minutes): &(u64, i64)| {
            let before = remembered.announced;
            let extent = Extent { waiting: *waiting, age: TimeDelta::minutes(*minutes) };
            remembered = remembered.after(extent, LIMIT);
            remembered.announced && !before
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn an_episode_is_told_once_until_it_has_calmed_down() {
        assert_eq!(
            told(&[(99, 1), (100, 1), (150, 1), (51, 1), (120, 1)]),
            [false, true, false, false, false]
        );
        assert_eq!(told(&[(100, 1), (50, 1), (99, 1), (100, 1)]), [true, false, false, true]);
    }

    #[test]
    fn age_counts_like_size_and_both_must_have_calmed_down() {
        assert_eq!(told(&[(1, 59), (2, 60), (1, 20), (3, 61)]), [false, true, false, true]);
        assert_eq!(told(&[(100, 90), (50, 31), (100, 90)]), [true, false, false]);
    }

    #[test]
    fn what_does_not_grow_is_not_told() {
        assert_eq!(told(&[(3, 10), (3, 70), (2, 80), (3, 81)]), [false, false, false, true]);
    }
}
