//! One clock for everything that is compared: the machine's, in microseconds since the epoch, as
//! Postgres stamps commits.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch.
pub type Micros = i64;

/// Now.
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// Seconds between two moments, never zero.
pub fn seconds(from: Micros, to: Micros) -> f64 {
    ((to - from).max(1) as f64) / 1e6
}
