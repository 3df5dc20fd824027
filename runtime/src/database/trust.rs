//! Which connections to Postgres may still be used after one of them found its server gone, or
//! read-only. Their siblings lead to the same server, so all connections made until then are
//! closed when they are taken from their pool. New ones reach whichever server now has the address.
//!
//! One time for the whole process: its pools lead to one Postgres.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Connections are closed at most this often, so that a server that stays read-only is not flooded
/// with new ones.
const INTERVAL: Duration = Duration::from_secs(1);

static TRUST: Trust = Trust(AtomicU64::new(0));

/// The time until which connections were made that may not be used, in milliseconds since the start
/// of this process. 0: all may be used. A time that is not over yet counts from then on.
struct Trust(AtomicU64);

impl Trust {
    fn lose(&self, now: u64) {
        let interval = u64::try_from(INTERVAL.as_millis()).expect("a second");
        // A time that is to come stays: an error between two of them counts for the second.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |until| {
            (until <= now).then(|| if until == 0 { now.max(1) } else { now.max(until + interval) })
        });
    }

    fn covers(&self, age: u64, now: u64) -> bool {
        let until = self.0.load(Ordering::Acquire);
        until == 0 || until > now || now.saturating_sub(age) > until
    }
}

/// Every connection made until now leads to a server that is gone or takes no writes.
pub(super) fn lose() {
    TRUST.lose(now());
}

/// Whether a connection of this age may be used.
pub(super) fn covers(age: Duration) -> bool {
    TRUST.covers(millis(age), now())
}

/// Begins at 1, so that the first time that is noted is over when it is noted.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    millis(START.get_or_init(Instant::now).elapsed()).saturating_add(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_made_before_the_server_was_lost_are_not_used_again() {
        let trust = Trust(AtomicU64::new(0));
        assert!(trust.covers(9_000, 10_000), "nothing has happened yet");
        trust.lose(10_000);
        assert!(!trust.covers(1, 10_001), "made at 10.000");
        assert!(trust.covers(400, 10_500), "made at 10.100");
    }

    #[test]
    fn a_server_that_stays_read_only_is_left_once_a_second() {
        let trust = Trust(AtomicU64::new(0));
        trust.lose(10_000);
        for now in [10_100, 10_200, 10_900] {
            trust.lose(now);
        }
        assert!(trust.covers(50, 10_999), "made at 10.949, and the second is not over");
        assert!(!trust.covers(51, 11_000), "now it is");
        assert!(trust.covers(1, 11_002), "made since");
    }
}
