//! What is kept of the clock, and times that are ahead of it.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

/// How far two processes' clocks may differ before one of them corrects the time that the other has noted.
pub(super) const SLACK: TimeDelta = TimeDelta::seconds(30);

/// How far ahead of now stored times can be.
#[derive(Debug, Clone)]
pub struct Furthest {
    /// When a request is asked about next, by how many steps of the ladder are spent; the last step
    /// counts for all beyond it.
    pub steps: Vec<TimeDelta>,
    /// When a question is put again that was not answered.
    pub pause: TimeDelta,
    /// When a lease ends.
    pub lease: TimeDelta,
}

impl Furthest {
    /// For a request with so many steps spent, under a lease or not; `None` where there is no ladder.
    fn of(&self, waiting: &Waiting) -> Option<TimeDelta> {
        match waiting {
            Waiting { is_leased: true, .. } => Some(self.lease),
            Waiting { misses: 1.., .. } => Some(self.pause),
            Waiting { asks, .. } => {
                let step = usize::try_from(*asks).unwrap_or_default().min(self.steps.len().saturating_sub(1));
                self.steps.get(step).copied()
            }
        }
    }

    /// For a reconciliation, leased or put off.
    pub(super) fn of_reconciliation(&self) -> TimeDelta {
        self.pause.max(self.lease)
    }
}

/// A request in the order in which they are looked at: what is furthest ahead first, so that only what
/// waits is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// When it is asked about.
    pub ask_at: DateTime<Utc>,
    /// Which it is.
    pub merchant_order_no: Uuid,
}

impl Place {
    /// Before all of them.
    pub const FIRST: Self = Self { ask_at: DateTime::<Utc>::MAX_UTC, merchant_order_no: Uuid::max() };
}

/// What clamping a page came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamped {
    /// How many were ahead of what they can be.
    pub rows: u64,
    /// The last request of the page; `None` when there was none left.
    pub last: Option<Place>,
}

/// A request as far as the time matters at which it is asked about.
pub(super) struct Waiting {
    pub(super) place: Place,
    pub(super) asks: i64,
    pub(super) misses: i64,
    pub(super) is_leased: bool,
}

/// Those of a page that are ahead of what they can be, and what each is brought back to.
pub(super) fn ahead(
    page: &[Waiting],
    now: DateTime<Utc>,
    furthest: &Furthest,
) -> Vec<(Place, DateTime<Utc>)> {
    let limited = page.iter().filter_map(|waiting| Some((waiting.place, now + furthest.of(waiting)?)));
    limited.filter(|(place, limit)| place.ask_at > *limit).collect()
}

/// The clock as far as it is kept.
#[async_trait]
pub trait ClockStore: Send + Sync + 'static {
    /// The last time that was noted, if one was.
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>>;

    /// The time of the database server, where it has a clock of its own.
    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>>;

    /// Notes that a process with a trusted clock is at work at `now`. The time that is noted goes back only
    /// when it is so far ahead of `now` that the clock that noted it was wrong.
    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()>;

    /// Looks at up to `limit` requests after the place `after`, and with the first of them at
    /// reconciliations: times that are further ahead of `now` than they can be, since they were written
    /// with a clock that was ahead, are brought back to the furthest that they can be. What another process
    /// holds is passed over.
    async fn clamp_times(
        &self,
        after: Place,
        now: DateTime<Utc>,
        furthest: &Furthest,
        limit: u32,
    ) -> StoreResult<Clamped>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_ahead_by_the_step_that_its_request_has_come_to() {
        let [step, pause, lease] = [10, 100, 1000].map(TimeDelta::seconds);
        let furthest = Furthest { steps: vec![step, step * 2], pause, lease };
        for (asks, misses, is_leased, limit) in
            [(0, 0, false, 10), (1, 0, false, 20), (7, 0, false, 20), (0, 2, false, 100), (1, 2, true, 1000)]
        {
            let place = |seconds| Place {
                ask_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
                ..Place::FIRST
            };
            let page = [limit, limit + 1].map(|at| Waiting { place: place(at), asks, misses, is_leased });
            let found = ahead(&page, DateTime::UNIX_EPOCH, &furthest);
            assert_eq!(found, [(place(limit + 1), place(limit).ask_at)]);
        }
    }
}
