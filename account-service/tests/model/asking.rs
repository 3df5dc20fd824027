//! When a request is asked about next.

use account_service::domain::NextAsk;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use uuid::Uuid;

use super::applying::asked_by;
use super::driver::{Deed, Driver, Work};
use super::model::{Request, Verdict};
use super::pay_service::{Answered, State};
use super::rig::SWEEP_LADDER;

/// The wait after a question that was not answered doubles from here to there, in seconds.
const PAUSES: (i64, i64) = (30, 600);

/// The earliest and the latest wait in seconds, `None` when nothing is left to ask; then the steps
/// that are spent and the questions in a row that were not answered.
type Next = (Option<(i64, i64)>, u32, u32);

impl Request {
    /// Whether the next question is the last that the ladder has a step for.
    pub fn is_asked_last(&self) -> bool {
        self.asks as usize + 1 >= SWEEP_LADDER.len()
    }

    /// A step is spent: the next one, or the last over and over.
    fn next_step(&self) -> Next {
        let step = SWEEP_LADDER[(self.asks as usize + 1).min(SWEEP_LADDER.len() - 1)];
        (Some((step, step)), self.asks + 1, 0)
    }

    fn not_answered(&self) -> Next {
        (Some(pause(self.misses)), self.asks, self.misses + 1)
    }
}

/// The shortest and the longest wait after so many questions in a row, and one more, were not answered.
pub fn pause(misses: u32) -> (i64, i64) {
    let longest = (PAUSES.0 << misses.min(8)).min(PAUSES.1);
    (longest / 2, longest)
}

impl Driver<'_> {
    pub fn next_asks_set(&mut self, work: &mut Work, token: Uuid, next: &[NextAsk]) {
        let Some((own, claimed)) = &work.claimed else { panic!("nothing was claimed") };
        assert_eq!((token, next.len()), (*own, claimed.len()), "under its own lease, each");
        let (claimed, mut told) = (claimed.clone(), 0);
        for (request, next) in claimed.iter().zip(next) {
            assert_eq!(request.order, next.merchant_order_no);
            let expected = Self::expected(work, request, &mut told);
            self.compare_next(work.began, expected, next);
            let stored = self.model.request(request.order).filter(|stored| stored.lease == Some(token));
            let late = stored.is_none();
            if let Some(stored) = stored {
                stored.ask_at = next.at.map(|at| at.trunc_subsecs(6));
                (stored.asks, stored.misses, stored.lease) = (next.asks, next.misses, None);
            }
            self.saw("late answers", usize::from(late && next.at.is_some()));
        }
        work.deeds.insert(Deed::SetNextAsks);
    }

    /// What follows for `request`; `told` counts the answers that were posted.
    fn expected(work: &Work, request: &Request, told: &mut usize) -> Next {
        let Some(asked) = work.asked.iter().find(|asked| asked.number == asked_by(request)) else {
            return (Some((0, 0)), request.asks, request.misses);
        };
        match &asked.answered {
            Answered::Told(answer) => {
                let verdict = work.verdicts.as_ref().expect("posted before")[*told];
                *told += 1;
                let undecided = matches!(verdict, Verdict::Noted | Verdict::Refused(_));
                if undecided && answer.state == State::Pending {
                    return request.next_step();
                }
                (None, request.asks + 1, 0)
            }
            Answered::NotThere if request.known.is_none() && request.is_asked_last() => {
                (None, request.asks + 1, 0)
            }
            Answered::NotThere | Answered::Wrong(_) => request.next_step(),
            Answered::Down | Answered::Refused => request.not_answered(),
        }
    }

    /// The round may have been stopped on its way, so it was told at some time since it began.
    fn compare_next(&self, began: DateTime<Utc>, (wait, asks, misses): Next, next: &NextAsk) {
        assert_eq!((next.asks, next.misses, next.at.is_some()), (asks, misses, wait.is_some()), "{next:?}");
        if let (Some(at), Some((least, most))) = (next.at, wait) {
            assert!(at >= began + TimeDelta::seconds(least), "not too early: {next:?}");
            assert!(at <= self.now() + TimeDelta::seconds(most), "not too late: {next:?}");
        }
    }
}
