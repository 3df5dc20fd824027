//! The pause that a receiver asks for by 429 or 503, for all of its subscription.

use std::time::Duration;

use messaging::ladder::MAX_STEP;

use super::Exchange;

/// The first pause where the answer names none. A `Retry-After` below it counts as none.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause where the answer names none.
const LONGEST: Duration = Duration::from_mins(1);

/// A receiver's answer that asks to be left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PauseAsked {
    /// Its `Retry-After`, counted from the end of the exchange.
    pub retry_after: Option<Duration>,
}

impl PauseAsked {
    /// What `exchange` asks for, where it ended with 429 or 503.
    pub fn by(exchange: &Exchange) -> Option<Self> {
        let asks = matches!(exchange.http_status, Some(429 | 503));
        asks.then_some(Self { retry_after: exchange.retry_after })
    }

    /// How long the pause lasts after the `answers`-th such answer in a row: as long as the receiver
    /// says, up to 24 h; else 1 s, doubled by each further answer up to 1 min.
    pub fn length(self, answers: u32) -> Duration {
        match self.retry_after.filter(|asked| *asked >= FIRST) {
            Some(asked) => asked.min(MAX_STEP),
            None => FIRST.saturating_mul(2_u32.saturating_pow(answers.saturating_sub(1))).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(answers: u32, retry_after: Option<u64>) -> u64 {
        PauseAsked { retry_after: retry_after.map(Duration::from_secs) }.length(answers).as_secs()
    }

    #[test]
    fn without_a_retry_after_the_pause_doubles_from_a_second_to_a_minute() {
        let lengths: Vec<u64> = (1..=8).map(|answers| length(answers, None)).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(length(u32::MAX, None), 60);
    }

    #[test]
    fn a_retry_after_is_kept_to_the_second_up_to_a_day() {
        assert_eq!((length(1, Some(5)), length(9, Some(5))), (5, 5));
        assert_eq!(length(1, Some(3600)), 3600);
        assert_eq!(length(1, Some(u64::from(u32::MAX))), 24 * 3600);
    }

    #[test]
    fn a_retry_after_of_no_time_does_not_switch_the_pause_off() {
        assert_eq!((length(1, Some(0)), length(3, Some(0))), (1, 4));
        let short = PauseAsked { retry_after: Some(Duration::from_millis(900)) };
        assert_eq!(short.length(1), FIRST);
    }
}
