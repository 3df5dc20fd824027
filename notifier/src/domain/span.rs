//! Ranges of ids, which are ranges of time: where a look into the log may find something.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Day;
use super::day::{EARLY_MILLIS, LATE_MILLIS, first_id_at, millis_of};

/// The ids from one to another, both of them included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub from: Uuid,
    /// The highest.
    pub to: Uuid,
}

impl Span {
    /// Every id.
    pub const ALL: Self = Self { from: Uuid::nil(), to: Uuid::max() };

    /// The ids of these milliseconds since the epoch.
    pub(super) fn of_millis(from: i64, to: i64) -> Self {
        Self { from: first_id_at(from), to: last_id_of(first_id_at(to)) }
    }

    /// The ids of the millisecond that `id` is of: an event's key and its notifications.
    pub fn around(id: Uuid) -> Self {
        Self { from: first_id_at(millis_of(id)), to: last_id_of(id) }
    }

    /// The span with all of the milliseconds that it begins and ends in.
    #[must_use]
    pub fn whole(self) -> Self {
        Self { from: Self::around(self.from).from, to: last_id_of(self.to) }
    }

    /// The span with all of the days that it begins and ends in.
    #[must_use]
    pub fn days(self) -> Self {
        Self { from: Day::of_id(self.from).first_id(), to: Day::of_id(self.to).span().to }
    }

    /// Whether `id` is in it.
    pub fn contains(self, id: Uuid) -> bool {
        self.from <= id && id <= self.to
    }

    /// What is in both.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { from: self.from.max(other.from), to: self.to.min(other.to) };
        (both.from <= both.to).then_some(both)
    }

    /// The part above `id`.
    pub fn above(self, id: Uuid) -> Option<Self> {
        let from = id.as_u128().checked_add(1).map(Uuid::from_u128)?;
        self.and(Self { from, to: Uuid::max() })
    }

    /// The part below `id`.
    pub fn below(self, id: Uuid) -> Option<Self> {
        let to = id.as_u128().checked_sub(1).map(Uuid::from_u128)?;
        self.and(Self { from: Uuid::nil(), to })
    }
}

fn last_id_of(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128() | ((1 << 80) - 1))
}

/// When events of a day came in that did not come in promptly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// The day of their keys.
    pub day: Day,
    /// The first of them did then, or later.
    pub first_at: DateTime<Utc>,
    /// The last of them did then, or earlier.
    pub last_at: DateTime<Utc>,
}

impl Arrivals {
    fn between(&self, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> bool {
        from.is_none_or(|from| from <= self.last_at) && to.is_none_or(|to| self.first_at < to)
    }
}

/// Where to look for what came in from `from` until before `to`, newest first: about that time, and
/// in the days of which something came in at another time. No two spans overlap.
pub fn came_in(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, arrivals: &[Arrivals]) -> Vec<Span> {
    if from.is_none() && to.is_none() {
        return vec![Span::ALL];
    }
    let prompt = Span {
        from: from.map_or(Uuid::nil(), |from| first_id_at(from.timestamp_millis() - LATE_MILLIS)),
        to: to.map_or(Uuid::max(), |to| last_id_of(first_id_at(to.timestamp_millis() + EARLY_MILLIS))),
    };
    let others = arrivals.iter().filter(|arrivals| arrivals.between(from, to)).map(|other| other.day.span());
    merged(others.chain([prompt]).collect())
}

fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| std::cmp::Reverse(span.to));
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(newer) if newer.from <= span.to => newer.from = newer.from.min(span.from),
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, id_at};
    use super::*;

    #[test]
    fn what_came_in_promptly_lies_about_its_time() {
        let spans = came_in(Some(at("2026-01-02T00:00:00Z")), Some(at("2026-01-03T00:00:00Z")), &[]);
        let [span] = spans[..] else { panic!("one span: {spans:?}") };
        assert!(span.contains(id_at("2026-01-01T23:00:00Z")) && span.contains(id_at("2026-01-03T00:01:00Z")));
        assert!(
            !span.contains(id_at("2026-01-01T22:59:59Z")) && !span.contains(id_at("2026-01-03T00:01:01Z"))
        );
    }

    #[test]
    fn a_day_of_which_something_came_in_at_that_time_is_looked_through_as_well() {
        let late =
            |day, first, last| Arrivals { day: Day::of(at(day)), first_at: at(first), last_at: at(last) };
        let arrivals = [
            late("2025-06-01T00:00:00Z", "2026-01-02T10:00:00Z", "2026-01-02T11:00:00Z"),
            late("2025-07-01T00:00:00Z", "2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"),
            late("2026-01-02T00:00:00Z", "2026-01-02T10:00:00Z", "2026-01-02T11:00:00Z"),
        ];
        let spans = came_in(Some(at("2026-01-02T00:00:00Z")), Some(at("2026-01-03T00:00:00Z")), &arrivals);
        let [newer, older] = spans[..] else { panic!("two spans: {spans:?}") };
        assert!(newer.from > older.to);
        assert_eq!(older, Day::of(at("2025-06-01T00:00:00Z")).span());
        assert!(newer.contains(id_at("2026-01-02T23:59:59.999Z")));
        assert_eq!(came_in(None, None, &arrivals), [Span::ALL]);
        assert_eq!(came_in(None, Some(at("2025-01-01T00:00:00Z")), &arrivals).len(), 1);
    }

    #[test]
    fn a_span_ends_below_the_id_that_a_page_ended_with() {
        let id = id_at("2026-01-02T00:00:00Z");
        let below = Span::ALL.below(id).expect("there are lower ids");
        assert!(!below.contains(id) && below.contains(Uuid::from_u128(id.as_u128() - 1)));
        assert_eq!(Span::ALL.below(Uuid::nil()), None);
        let above = Span::ALL.above(id).expect("there are higher ids");
        assert!(!above.contains(id) && above.contains(Uuid::from_u128(id.as_u128() + 1)));
        assert_eq!(Span::ALL.above(Uuid::max()), None);
        assert_eq!(Span::around(id).below(Span::around(id).from), None);
    }
}
