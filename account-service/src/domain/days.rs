//! Days that are over and not reconciled: which one is begun next, and which are named only.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::period::Period;

/// How many days back a day is begun by itself. Older ones are named, and left to be asked for.
pub const MOST_DAYS_BACK: u64 = 92;
/// How many days are named one by one.
const MOST_NAMED: usize = 100;
/// After how many questions in a row that were not answered a day holds up the next one no longer.
const STUCK: u32 = 5;

/// What the reconciliations say about days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The start of the first day that was begun by itself.
    pub first: Option<DateTime<Utc>>,
    /// What was compared to its end: periods without gaps, apart from each other.
    pub covered: Vec<Period>,
    /// Days that were begun by themselves and did not come to their end.
    pub unfinished: Vec<UnfinishedDay>,
    /// Whether one was begun by a clock that was ahead of the present one.
    pub from_the_future: bool,
}

/// A day that was begun and did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfinishedDay {
    /// Which day.
    pub period: Period,
    /// How often in a row pay-service has not answered.
    pub failures: u32,
    /// Whether a person has ended it.
    pub is_cancelled: bool,
}

/// How a day stands that is over and not reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DayState {
    /// It will be begun.
    Waiting,
    /// It is under way.
    Running,
    /// A person has ended it; it is left to be asked for.
    Cancelled,
    /// It is too long ago to be begun by itself; it is left to be asked for.
    TooOld,
}

/// The days that are over and not reconciled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreconciledDays {
    /// The newest day that is reconciled.
    pub last_reconciled: Option<NaiveDate>,
    /// How many are in each state; states without any are left out.
    pub counts: Vec<(DayState, u64)>,
    /// The oldest of them.
    pub named: Vec<(NaiveDate, DayState)>,
    /// The day to begin now, unless it was begun already.
    pub next: Option<Period>,
}

impl DayState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Running, Self::Cancelled, Self::TooOld];

    /// The word for it in answers and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Cancelled => "cancelled",
            Self::TooOld => "too_old",
        }
    }
}

impl Reconciled {
    /// The days up to and with `last` that are not reconciled. They are begun oldest first, one at a
    /// time; one that pay-service does not answer for does not hold up the others for ever. `last` is
    /// begun also where a person had it compared already.
    pub fn unreconciled(&self, last: Period) -> UnreconciledDays {
        let last_day = last.from.date_naive();
        let first_day = self.first.map_or(last_day, |first| first.date_naive());
        let oldest_begun = last_day.checked_sub_days(Days::new(MOST_DAYS_BACK - 1)).unwrap_or(NaiveDate::MIN);
        let mut days = UnreconciledDays { last_reconciled: self.last_covered(last), ..Default::default() };
        let mut waiting = None;
        for day in first_day.iter_days().take_while(|day| *day <= last_day) {
            let period = day_of(day);
            if self.covers(period) {
                continue;
            }
            let state = self.state_of(period).unwrap_or(if day < oldest_begun {
                DayState::TooOld
            } else {
                DayState::Waiting
            });
            if state == DayState::Waiting {
                waiting = waiting.or(Some(period));
            }
            days.add(day, state);
        }
        days.next = waiting.or(Some(last)).filter(|_| !self.is_held_up());
        days
    }

    fn covers(&self, day: Period) -> bool {
        self.covered.iter().any(|period| period.from <= day.from && day.to <= period.to)
    }

    fn state_of(&self, day: Period) -> Option<DayState> {
        let begun = self.unfinished.iter().find(|begun| begun.period == day)?;
        Some(if begun.is_cancelled { DayState::Cancelled } else { DayState::Running })
    }

    fn is_held_up(&self) -> bool {
        self.unfinished.iter().any(|begun| !begun.is_cancelled && begun.failures < STUCK)
    }

    /// The newest whole day, `last` or before it, that is covered.
    fn last_covered(&self, last: Period) -> Option<NaiveDate> {
        let end_of = |period: &Period| {
            let day = period.to.min(last.to).date_naive().pred_opt()?;
            (period.from <= day_of(day).from).then_some(day)
        };
        self.covered.iter().filter_map(end_of).max()
    }
}

impl UnreconciledDays {
    fn add(&mut self, day: NaiveDate, state: DayState) {
        match self.counts.iter_mut().find(|(counted, _)| *counted == state) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((state, 1)),
        }
        if self.named.len() < MOST_NAMED {
            self.named.push((day, state));
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// How many are in this state.
    pub fn in_state(&self, state: DayState) -> u64 {
        self.counts.iter().find(|(counted, _)| *counted == state).map_or(0, |(_, count)| *count)
    }

    /// The oldest of them.
    pub fn oldest(&self) -> Option<NaiveDate> {
        self.named.first().map(|(day, _)| *day)
    }

    /// For how long the oldest of them has been over.
    pub fn oldest_age(&self, now: DateTime<Utc>) -> TimeDelta {
        self.oldest().map_or(TimeDelta::zero(), |day| (now - day_of(day).to).max(TimeDelta::zero()))
    }
}

/// A day of UTC as a period.
pub(super) fn day_of(day: NaiveDate) -> Period {
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    Period { from: midnight(day), to: midnight(day.succ_opt().unwrap_or(NaiveDate::MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of January 2026.
    fn day(number: u32) -> Period {
        day_of(NaiveDate::from_ymd_opt(2026, 1, number).expect("a day"))
    }

    fn span(from: u32, to: u32) -> Period {
        Period { from: day(from).from, to: day(to).to }
    }

    fn begun(number: u32, failures: u32, is_cancelled: bool) -> UnfinishedDay {
        UnfinishedDay { period: day(number), failures, is_cancelled }
    }

    fn since(first: u32, covered: &[Period]) -> Reconciled {
        Reconciled { first: Some(day(first).from), covered: covered.to_vec(), ..Reconciled::default() }
    }

    fn named(days: &UnreconciledDays) -> Vec<(u32, DayState)> {
        use chrono::Datelike;
        days.named.iter().map(|(day, state)| (day.day(), *state)).collect()
    }

    #[test]
    fn a_first_start_begins_with_the_last_day_and_not_with_1970() {
        let days = Reconciled::default().unreconciled(day(9));
        assert_eq!((days.next, days.last_reconciled), (Some(day(9)), None));
        assert_eq!(named(&days), [(9, DayState::Waiting)]);
    }

    #[test]
    fn the_oldest_day_that_was_missed_comes_first_one_at_a_time() {
        let mut reconciled = since(3, &[span(3, 4), span(6, 6)]);
        let days = reconciled.unreconciled(day(9));
        assert_eq!((days.next, days.last_reconciled), (Some(day(5)), Some(day(6).from.date_naive())));
        let waiting = [5, 7, 8, 9].map(|day| (day, DayState::Waiting));
        assert_eq!((named(&days), days.count()), (waiting.into(), 4));
        reconciled.unfinished = vec![begun(5, 0, false)];
        let days = reconciled.unreconciled(day(9));
        assert_eq!((days.next, named(&days)[0]), (None, (5, DayState::Running)));
    }

    #[test]
    fn a_day_that_is_not_answered_for_stays_named_and_holds_up_the_others_for_some_questions_only() {
        let mut reconciled = since(5, &[]);
        for (failures, next) in [(4, None), (5, Some(day(6)))] {
            reconciled.unfinished = vec![begun(5, failures, false)];
            let days = reconciled.unreconciled(day(7));
            assert_eq!((days.next, named(&days)[0]), (next, (5, DayState::Running)));
        }
        reconciled.unfinished = vec![begun(5, 0, true)];
        let days = reconciled.unreconciled(day(7));
        assert_eq!((days.next, named(&days)[0]), (Some(day(6)), (5, DayState::Cancelled)));
    }

    #[test]
    fn what_is_too_old_is_named_and_left_until_somebody_asks_for_it() {
        let first = day(1).from - TimeDelta::days(365);
        let mut reconciled = Reconciled { first: Some(first), ..Reconciled::default() };
        let days = reconciled.unreconciled(day(9));
        assert_eq!(days.count(), 365 + 9);
        assert_eq!(days.in_state(DayState::TooOld), 365 + 9 - MOST_DAYS_BACK);
        assert_eq!((days.named.len(), days.oldest()), (MOST_NAMED, Some(first.date_naive())));
        assert_eq!(days.next, Some(day_of(day(9).from.date_naive() - Days::new(MOST_DAYS_BACK - 1))));
        reconciled.covered = vec![Period { from: first, to: day(9).to }];
        let days = reconciled.unreconciled(day(9));
        assert_eq!((days.count(), days.last_reconciled), (0, Some(day(9).from.date_naive())));
        assert_eq!(days.next, Some(day(9)), "the last day is compared at its own time as well");
    }

    #[test]
    fn a_day_is_reconciled_when_all_of_it_is() {
        let half = |from: i64, to: i64| Period {
            from: day(5).from + TimeDelta::hours(from),
            to: day(5).from + TimeDelta::hours(to),
        };
        assert_eq!(named(&since(5, &[half(1, 24)]).unreconciled(day(5))), [(5, DayState::Waiting)]);
        assert_eq!(named(&since(5, &[half(-5, 23)]).unreconciled(day(5))), [(5, DayState::Waiting)]);
        assert!(since(5, &[half(-5, 30)]).unreconciled(day(5)).named.is_empty());
        assert_eq!(since(5, &[half(1, 24)]).unreconciled(day(5)).last_reconciled, None);
    }
}
