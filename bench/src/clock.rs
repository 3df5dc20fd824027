//! One clock for everything that is compared: the machine's, in microseconds since the epoch, as
//! Postgres stamps commits.

use runtime::clock::{Clock, SystemClock};

/// Microseconds since the epoch.
pub type Micros = i64;

/// Now.
pub fn now() -> Micros {
    SystemClock::default().wall().timestamp_micros()
}

/// Seconds between two moments, never zero.
pub fn seconds(from: Micros, to: Micros) -> f64 {
    ((to - from).max(1) as f64) / 1e6
}
