//! The pause that a receiver asked this process for (429, 503), by the steady clock. The store keeps the
//! same pause for all processes once the answer is written. This one closes the gap until then, and stands
//! in for it where the answer can't be written.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Exchange;
use crate::domain::receiver_pause::PauseAsked;

/// What was claimed before a pause was written has ended or begun after this time: no lease is longer.
const LONGEST_CLAIM: TimeDelta = TimeDelta::seconds(45);

/// The pause of one subscription, if there is one.
#[derive(Debug, Default)]
pub struct LocalPause {
    asked: Option<Asked>,
    /// Answers whose results are being written.
    writing: u32,
    /// Whether the result of such an answer could not be written, so that the store may not know the pause.
    is_lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    /// When the answer came.
    at: DateTime<Utc>,
    until: DateTime<Utc>,
    /// How many times in a row, where each answer but the first is to an attempt after the pause.
    answers: u32,
}

impl LocalPause {
    /// Whether no attempt may begin at `now`.
    pub fn lasts(&self, now: DateTime<Utc>) -> bool {
        self.writing > 0 || self.asked.is_some_and(|asked| now < asked.until)
    }

    /// When the pause at `now` ends, as far as is known.
    pub fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.asked.map(|asked| asked.until).filter(|until| *until > now)
    }

    /// An attempt has ended. An answer to one that began after the last request for a pause begins the next
    /// pause or ends the row; that to an earlier one can only make the pause longer.
    pub fn note(&mut self, exchange: &Exchange, now: DateTime<Utc>) {
        let duration = TimeDelta::from_std(exchange.duration).unwrap_or_default();
        let last = self.asked;
        let is_later = last.is_some_and(|last| now - duration > last.at);
        let Some(asked) = PauseAsked::by(exchange) else {
            if is_later {
                self.forget();
            }
            return;
        };
        self.writing += 1;
        let answers = last.map_or(0, |last| last.answers);
        let answers = if is_later { answers.saturating_add(1) } else { answers.max(1) };
        let until = now + asked.length(answers);
        let earliest = last.map_or(until, |last| last.until);
        self.asked = Some(Asked { at: now, until: until.max(earliest), answers });
    }

    /// The result of an answer that asked for a pause is written by now, or `is_stored` no: it could not be.
    pub fn written(&mut self, is_stored: bool, now: DateTime<Utc>) {
        self.writing = self.writing.saturating_sub(1);
        self.is_lost |= !is_stored;
        if self.writing == 0
            && !self.is_lost
            && let Some(asked) = &mut self.asked
        {
            // From now on it is the store's, which also forgets it when another process has reason to.
            asked.until = asked.until.min(now + LONGEST_CLAIM);
        }
    }

    /// The pause is over: the endpoint answers otherwise, or is another one.
    pub fn forget(&mut self) {
        (self.asked, self.is_lost) = (None, false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::FailureClass;
    use crate::engine::testing::exchange;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
    }

    /// An answer to an attempt of 5 ms.
    fn asking(retry_after: Option<u64>) -> Exchange {
        let retry_after = retry_after.map(Duration::from_secs);
        Exchange { http_status: Some(429), retry_after, ..exchange(5, Some(FailureClass::Status)) }
    }

    #[test]
    fn a_pause_lasts_to_its_end_though_its_result_could_not_be_written() {
        let mut pause = LocalPause::default();
        pause.note(&asking(Some(3600)), at(0));
        pause.written(false, at(100));
        assert!(pause.lasts(at(3_599_999)) && !pause.lasts(at(3_600_000)));
        assert_eq!(pause.until(at(0)), Some(at(3_600_000)));
    }

    #[test]
    fn after_the_write_it_lasts_until_what_was_claimed_before_has_ended() {
        let mut pause = LocalPause::default();
        pause.note(&asking(None), at(0));
        assert!(pause.lasts(at(20_000)), "the write takes longer than the pause");
        pause.written(true, at(20_000));
        assert!(!pause.lasts(at(20_000)));
        pause.note(&asking(Some(3600)), at(20_000));
        pause.written(true, at(20_100));
        assert!(pause.lasts(at(65_099)) && !pause.lasts(at(65_100)), "the store keeps the rest");
    }

    #[test]
    fn it_doubles_by_answers_to_later_attempts_alone_and_another_answer_to_one_ends_the_row() {
        let mut pause = LocalPause::default();
        pause.note(&asking(None), at(0));
        pause.note(&asking(None), at(2)); // It had begun before the first answer.
        (0..2).for_each(|_| pause.written(false, at(3)));
        pause.note(&exchange(100, None), at(50)); // So had this one.
        assert_eq!(pause.until(at(3)), Some(at(1_002)));
        pause.note(&asking(None), at(1_100));
        pause.written(false, at(1_100));
        assert_eq!(pause.until(at(1_100)), Some(at(3_100)));
        pause.note(&exchange(5, Some(FailureClass::Status)), at(3_200));
        assert!(!pause.lasts(at(3_200)));
        pause.note(&asking(None), at(3_300));
        pause.written(false, at(3_300));
        assert_eq!(pause.until(at(3_300)), Some(at(4_300)), "it begins at a second again");
    }
}
