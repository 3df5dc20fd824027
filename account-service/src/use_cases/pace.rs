//! How fast pay-service is asked: evenly, not at all for a while after an outage, and then at first
//! with a single question.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How many requests one round takes at most.
pub(super) const MAX_BATCH: u32 = 64;
/// The rest after the first outage; doubles with each further one in a row.
const MIN_REST: Duration = Duration::from_secs(1);
/// The longest such rest.
const MAX_REST: Duration = Duration::from_mins(1);

/// The pace of one process.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Questions a second at most.
    rate: u32,
    batch: u32,
    outages: u32,
    not_before: DateTime<Utc>,
}

impl Pace {
    /// At most `rate` questions a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), batch: MAX_BATCH, outages: 0, not_before: DateTime::UNIX_EPOCH }
    }

    /// How long it must rest yet. A clock that was set back does not make it longer.
    pub(super) fn rest(&self, now: DateTime<Utc>) -> Option<Duration> {
        let rest = (self.not_before - now).to_std().ok().filter(|rest| !rest.is_zero())?;
        (rest <= MAX_REST.max(self.taking(MAX_BATCH))).then_some(rest)
    }

    /// How many requests the next round may take.
    pub(super) fn batch(&self) -> u32 {
        self.batch
    }

    /// pay-service has answered in a round of `asked` questions.
    pub(super) fn answered(&mut self, asked: u32, now: DateTime<Utc>) {
        self.outages = 0;
        self.batch = self.batch.saturating_mul(2).min(MAX_BATCH);
        self.rest_for(self.taking(asked), now);
    }

    /// pay-service has answered none of a round's questions. `lot`, between 0 and 1, keeps processes
    /// from coming back together.
    pub(super) fn outage(&mut self, now: DateTime<Utc>, lot: f64) {
        let longest = MIN_REST.saturating_mul(1 << self.outages.min(8)).min(MAX_REST);
        self.outages = self.outages.saturating_add(1);
        self.batch = 1;
        self.rest_for(longest / 2 + (longest / 2).mul_f64(lot.clamp(0.0, 1.0)), now);
    }

    /// How long `asked` questions take at this pace.
    fn taking(&self, asked: u32) -> Duration {
        Duration::from_secs(1) * asked / self.rate
    }

    fn rest_for(&mut self, rest: Duration, now: DateTime<Utc>) {
        self.not_before = now + TimeDelta::from_std(rest).unwrap_or(TimeDelta::seconds(60));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    #[test]
    fn after_an_outage_it_rests_ever_longer_and_starts_with_one_question() {
        let mut pace = Pace::new(100);
        assert_eq!((pace.rest(NOW), pace.batch()), (None, MAX_BATCH));
        let mut rests = Vec::new();
        for _ in 0..8 {
            pace.outage(NOW, 1.0);
            assert_eq!(pace.batch(), 1);
            rests.push(pace.rest(NOW).expect("it rests").as_secs());
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.outage(NOW, 0.0);
        assert_eq!(pace.rest(NOW).expect("it rests").as_secs(), 30);
        let mut batches = Vec::new();
        for _ in 0..7 {
            pace.answered(1, NOW);
            batches.push(pace.batch());
        }
        assert_eq!(batches, [2, 4, 8, 16, 32, 64, 64]);
        pace.outage(NOW, 1.0);
        assert_eq!(pace.rest(NOW).expect("it rests").as_secs(), 1);
    }

    #[test]
    fn it_asks_no_faster_than_its_rate() {
        let mut pace = Pace::new(100);
        pace.answered(64, NOW);
        assert_eq!(pace.rest(NOW), Some(Duration::from_millis(640)));
        assert_eq!(pace.rest(NOW + TimeDelta::milliseconds(640)), None);
        assert_eq!(pace.rest(NOW - TimeDelta::days(1)), None, "the clock was set back");
    }
}
