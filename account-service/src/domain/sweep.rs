//! The sweep: when pay-service is asked next about a request that nothing was heard of.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use messaging::Ladder;
use uuid::Uuid;

use super::request::Request;

/// The wait after a question that was not answered; doubles with each further one in a row.
const MIN_PAUSE: Duration = Duration::from_secs(30);
/// The longest such wait.
pub const MAX_PAUSE: Duration = Duration::from_mins(10);

/// A request that pay-service is to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRequest {
    /// The request.
    pub request: Request,
    /// How many steps of the ladder are spent.
    pub asks: u32,
    /// How many questions in a row were not answered.
    pub misses: u32,
}

/// What asking about a request has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Its result is final, and in the books or with a person.
    Settled,
    /// It is not decided yet, or the answer is of no use.
    NothingNew,
    /// pay-service does not know the recharge that it has given a number before.
    Gone,
    /// pay-service knows no recharge of this order.
    NeverTaken,
    /// pay-service did not answer.
    Unanswered,
    /// It was not asked after all.
    NotAsked,
}

/// When a request is asked about next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextAsk {
    /// Which request.
    pub merchant_order_no: Uuid,
    /// When; `None` when there is nothing left to ask.
    pub at: Option<DateTime<Utc>>,
    /// How many steps are spent then.
    pub asks: u32,
    /// How many questions in a row were not answered.
    pub misses: u32,
}

/// When a request that was just recorded is asked about for the first time.
pub fn first_ask(ladder: &Ladder, recorded_at: DateTime<Utc>) -> DateTime<Utc> {
    recorded_at + wait(ladder, 0)
}

impl DueRequest {
    /// What follows `heard`, the question having been put at `now`. `lot`, between 0 and 1, spreads the
    /// requests that were not answered together.
    ///
    /// An outage costs no step. After the last step it goes on at that step's pace, until there is a
    /// result; but what pay-service has never heard of by then, it has not taken.
    pub fn next(&self, heard: Heard, ladder: &Ladder, now: DateTime<Utc>, lot: f64) -> NextAsk {
        let next = |at, asks, misses| NextAsk {
            merchant_order_no: self.request.merchant_order_no,
            at,
            asks,
            misses,
        };
        let asks = self.asks.saturating_add(1);
        match heard {
            Heard::Settled => next(None, asks, 0),
            Heard::NeverTaken if self.is_last(ladder) => next(None, asks, 0),
            Heard::NothingNew | Heard::Gone | Heard::NeverTaken => {
                next(Some(now + wait(ladder, asks)), asks, 0)
            }
            Heard::Unanswered => {
                let misses = self.misses.saturating_add(1);
                next(Some(now + delta(pause(misses, lot))), self.asks, misses)
            }
            Heard::NotAsked => next(Some(now), self.asks, self.misses),
        }
    }

    /// Whether this question is the last that the ladder has a step for.
    pub fn is_last(&self, ladder: &Ladder) -> bool {
        usize::try_from(self.asks).is_ok_and(|asks| asks.saturating_add(1) >= ladder.steps().len())
    }
}

/// The wait before the question after `asks` questions.
fn wait(ladder: &Ladder, asks: u32) -> TimeDelta {
    let step = ladder.wait_after(asks.saturating_add(1));
    delta(step.or_else(|| ladder.steps().last().map(|step| step.0)).unwrap_or(MAX_PAUSE))
}

/// The second half of the wait is drawn by lot.
pub(super) fn pause(misses: u32, lot: f64) -> Duration {
    let longest = MIN_PAUSE.saturating_mul(1 << misses.saturating_sub(1).min(8)).min(MAX_PAUSE);
    longest / 2 + (longest / 2).mul_f64(lot.clamp(0.0, 1.0))
}

pub(super) fn delta(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1))
}

#[cfg(test)]
mod tests {
    use super::super::account::AccountNo;
    use super::super::money::{Amount, Currency};
    use super::super::request::RequestState;
    use super::*;

    fn due(asks: u32) -> DueRequest {
        let request = Request {
            merchant_order_no: Uuid::nil(),
            account_no: AccountNo::parse("A").expect("a number"),
            amount: Amount::new(1).expect("an amount"),
            currency: Currency::CNY,
            channel: "instant".into(),
            attach: None,
            state: RequestState::Unknown,
            created_at: DateTime::UNIX_EPOCH,
        };
        DueRequest { request, asks, misses: 0 }
    }

    fn ladder() -> Ladder {
        Ladder::new(["30s", "1m", "5m"].map(|step| step.parse().expect("a step")).into()).expect("a ladder")
    }

    fn seconds(next: NextAsk) -> Option<i64> {
        next.at.map(|at| at.timestamp())
    }

    #[test]
    fn a_request_climbs_its_ladder_and_goes_on_at_the_last_step_s_pace() {
        assert_eq!(first_ask(&ladder(), DateTime::UNIX_EPOCH).timestamp(), 30);
        for heard in [Heard::NothingNew, Heard::Gone] {
            let waits: Vec<_> = (0..4)
                .map(|asks| seconds(due(asks).next(heard, &ladder(), DateTime::UNIX_EPOCH, 0.5)))
                .collect();
            assert_eq!(waits, [Some(60), Some(300), Some(300), Some(300)]);
        }
    }

    #[test]
    fn what_was_never_taken_is_given_up_with_the_last_step_and_a_result_at_once() {
        let next = |asks, heard| seconds(due(asks).next(heard, &ladder(), DateTime::UNIX_EPOCH, 0.5));
        assert_eq!(next(1, Heard::NeverTaken), Some(300));
        assert_eq!(next(2, Heard::NeverTaken), None);
        assert_eq!(next(0, Heard::Settled), None);
    }

    #[test]
    fn an_outage_spends_no_step_and_is_waited_out_ever_longer() {
        let mut request = due(1);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let next = request.next(Heard::Unanswered, &ladder(), DateTime::UNIX_EPOCH, 1.0);
            assert_eq!(next.asks, 1);
            request.misses = next.misses;
            waits.push(seconds(next).expect("it is asked again"));
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
        let least = request.next(Heard::Unanswered, &ladder(), DateTime::UNIX_EPOCH, 0.0);
        assert_eq!(seconds(least), Some(300));
        let answered = request.next(Heard::NothingNew, &ladder(), DateTime::UNIX_EPOCH, 0.0);
        assert_eq!((answered.asks, answered.misses), (2, 0));
    }
}
