//! Log lines about what recurs, such as the failures of an outage: one for each cause and ten seconds,
//! with how often it happened since the last one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a cause that was logged is only counted.
const SILENCE: Duration = Duration::from_secs(10);
/// How many causes are remembered; a further one is logged each time.
const MAX_CAUSES: usize = 32;

/// What was logged of late, by cause.
#[derive(Debug, Default)]
pub struct Recurring(Mutex<HashMap<String, Cause>>);

#[derive(Debug)]
struct Cause {
    logged_at: Instant,
    since: u64,
}

impl Recurring {
    /// Notes that `cause` happened. `Some` when it is time for a line: how often it has happened since
    /// the last line, this time included.
    pub fn note(&self, cause: &str) -> Option<u64> {
        let now = Instant::now();
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = causes.get_mut(cause) {
            known.since += 1;
            if now < known.logged_at + SILENCE {
                return None;
            }
            known.logged_at = now;
            return Some(std::mem::take(&mut known.since));
        }
        if causes.len() >= MAX_CAUSES {
            causes.retain(|_, cause| now < cause.logged_at + SILENCE);
        }
        if causes.len() < MAX_CAUSES {
            causes.insert(cause.to_owned(), Cause { logged_at: now, since: 0 });
        }
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_logged_at_once_and_then_counted_for_ten_seconds() {
        let recurring = Recurring::default();
        assert_eq!(recurring.note("refused"), Some(1));
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(recurring.note("refused"), None);
        }
        assert_eq!(recurring.note("timed out"), Some(1), "another cause is news");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(recurring.note("refused"), Some(10));
        assert_eq!(recurring.note("refused"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let recurring = Recurring::default();
        for number in 0..1000 {
            assert_eq!(recurring.note(&number.to_string()), Some(1));
        }
        assert_eq!(recurring.0.lock().expect("no panic").len(), MAX_CAUSES);
        tokio::time::advance(SILENCE).await;
        recurring.note("new");
        assert_eq!(recurring.0.lock().expect("no panic").len(), 1, "old ones made room");
    }
}
