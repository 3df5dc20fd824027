//! Log lines about what recurs, such as the failures of an outage: one for each cause and ten seconds,
//! with how often it happened since the last one. Metrics count every time.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a cause that was logged is only counted.
const SILENCE: Duration = Duration::from_secs(10);
/// How many causes are told apart; further ones share one line.
const MAX_CAUSES: usize = 32;
/// How much of a cause's text tells it apart, in characters.
const MAX_TEXT: usize = 160;
/// Stands for all causes beyond [`MAX_CAUSES`].
const OTHERS: &str = "";

/// What was logged of late, by cause.
#[derive(Debug, Default)]
pub struct Recurring(Mutex<Vec<Cause>>);

#[derive(Debug)]
struct Cause {
    /// Without digits: ids, ports and counts differ while the cause is the same.
    text: String,
    logged_at: Instant,
    since: u64,
}

impl Recurring {
    /// Nothing was logged.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Notes that `cause` happened. `Some` when it is time for a line: how often it has happened since
    /// the last line, this time included.
    pub fn note(&self, cause: &(impl Display + ?Sized)) -> Option<u64> {
        let text: String = cause.to_string().chars().filter(|c| !c.is_ascii_digit()).take(MAX_TEXT).collect();
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut causes, text, Instant::now())
    }
}

fn note(causes: &mut Vec<Cause>, mut text: String, now: Instant) -> Option<u64> {
    let is_quiet = |cause: &Cause| now < cause.logged_at + SILENCE;
    let known = |causes: &[Cause], text: &str| causes.iter().position(|cause| cause.text == text);
    if known(causes, &text).is_none() && causes.len() >= MAX_CAUSES {
        causes.retain(is_quiet);
        if causes.len() >= MAX_CAUSES {
            OTHERS.clone_into(&mut text);
        }
    }
    let Some(place) = known(causes, &text) else {
        causes.push(Cause { text, logged_at: now, since: 0 });
        return Some(1);
    };
    let cause = &mut causes[place];
    cause.since += 1;
    if is_quiet(cause) {
        return None;
    }
    cause.logged_at = now;
    Some(std::mem::take(&mut cause.since))
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
    async fn numbers_make_no_new_cause() {
        let recurring = Recurring::new();
        assert_eq!(recurring.note("refused by 10.0.0.1:5432"), Some(1));
        for port in 0..1000 {
            assert_eq!(recurring.note(&format!("refused by 10.0.0.2:{port}")), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_causes_takes_bounded_memory_and_bounded_lines() {
        let recurring = Recurring::new();
        let name = |number: u32| number.to_string().bytes().map(|b| char::from(b + 49)).collect::<String>();
        let logged = (0..10_000).filter_map(|number| recurring.note(&name(number))).count();
        assert_eq!(logged, MAX_CAUSES + 1, "and one for all others");
        assert_eq!(recurring.0.lock().expect("no panic").len(), MAX_CAUSES + 1);
        tokio::time::advance(SILENCE).await;
        assert_eq!(recurring.note("new"), Some(1));
        assert_eq!(recurring.0.lock().expect("no panic").len(), 1, "old ones made room");
    }
}
