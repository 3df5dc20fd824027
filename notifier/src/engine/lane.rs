//! One subscription's use of the room.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{Endpoint, Exchange, Outcome};

use super::pause::LocalPause;
use super::queue::{self, Queue};
use super::rate::Bucket;
use super::width::Width;

/// So many failures in a row, and nobody waits in memory for the next attempt.
const FAILING: u32 = 2;
/// Beyond this an attempt holds its room for noticeably long.
const SLOW: Duration = Duration::from_secs(1);

/// How the last request to end was. Before the first has, a lane counts as slow: who hangs must not
/// have the room of those who answer until that is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Unknown,
    Quick,
    Slow,
}

/// What is under way for one subscription, and what it may have.
pub struct Lane {
    pub endpoint: Arc<Endpoint>,
    /// Slots, from their taking to the end of the request; of one that failed, until that is written.
    pub taken: u32,
    pub bucket: Bucket,
    pub width: Width,
    /// Deliveries under lease that wait for a slot.
    pub queue: Queue,
    /// How long acknowledgements take: the last ones, averaged.
    took: Option<Duration>,
    /// Attempts in a row that were not acknowledged.
    failures: u32,
    /// The pause that the receiver has asked this process for.
    pub pause: LocalPause,
    /// Requests out there.
    sending: u32,
    /// When the first of them began or the last one ended.
    progress: DateTime<Utc>,
    pace: Pace,
    /// Whether the next odd slot that waiting work is claimed for is for a retry.
    retries_first: bool,
    /// Whether its slots count among those of slow lanes; see [`super::room::Room`].
    pub counted_slow: bool,
}

impl Lane {
    /// A lane that nothing is known of.
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            taken: 0,
            bucket: Bucket::default(),
            width: Width::default(),
            queue: Queue::default(),
            took: None,
            failures: 0,
            pause: LocalPause::default(),
            sending: 0,
            progress: DateTime::UNIX_EPOCH,
            pace: Pace::Unknown,
            retries_first: false,
            counted_slow: true,
        }
    }

    /// Whether retries have the odd one of `count` slots that waiting work is claimed for. First
    /// attempts and retries have it by turns, so that even a lane of one slot serves both.
    pub fn claim(&mut self, count: u32) -> bool {
        let retries_first = self.retries_first;
        self.retries_first ^= count % 2 == 1;
        retries_first
    }

    /// A request goes out.
    pub fn start(&mut self, now: DateTime<Utc>) {
        if self.sending == 0 {
            self.progress = now;
        }
        self.sending += 1;
    }

    /// A request has ended.
    pub fn end(&mut self, exchange: &Exchange, now: DateTime<Utc>) {
        self.sending = self.sending.saturating_sub(1);
        self.progress = now;
        self.pace = if exchange.duration <= SLOW { Pace::Quick } else { Pace::Slow };
        if exchange.outcome == Outcome::Delivered {
            self.failures = 0;
            self.took = Some(self.took.map_or(exchange.duration, |took| (took * 7 + exchange.duration) / 8));
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        self.pause.note(exchange, now);
        if exchange.timed_out() || exchange.asks_for_pause() {
            self.width.overloaded();
        } else if exchange.reached() {
            let Endpoint { timeout, max_in_flight, .. } = &*self.endpoint;
            self.width.answered(exchange.duration, timeout.get(), *max_in_flight);
        }
    }

    /// A request was dropped before its end.
    pub fn drop_request(&mut self) {
        self.sending = self.sending.saturating_sub(1);
    }

    /// How many deliveries may wait in memory for a slot: none but of a lane that acknowledges quickly,
    /// and whose slots are all that is to be waited for.
    pub fn places(&self, now: DateTime<Utc>) -> u32 {
        match self.took {
            Some(took)
                if self.failures == 0
                    && self.endpoint.rate_limit.is_none()
                    && !self.pause.lasts(now)
                    && !self.is_slow(now) =>
            {
                queue::places(self.width.limit(self.endpoint.max_in_flight), took)
            }
            _ => 0,
        }
    }

    /// Whether what waits in memory is to go back: it fails or hangs, so that its attempts are better
    /// decided on one by one.
    pub fn is_to_be_left(&self, now: DateTime<Utc>) -> bool {
        self.failures >= FAILING
            || self.pause.lasts(now)
            || self.endpoint.rate_limit.is_some()
            || self.is_slow(now)
    }

    /// Whether none of its requests has ended yet.
    pub fn is_new(&self) -> bool {
        self.pace == Pace::Unknown
    }

    /// Whether its requests hold their room for long, as far as is known: the last one did, or those
    /// under way do.
    pub fn is_slow(&self, now: DateTime<Utc>) -> bool {
        let silent = TimeDelta::from_std(SLOW).is_ok_and(|slow| now - self.progress > slow);
        self.pace != Pace::Quick || (self.sending > 0 && silent)
    }
}
