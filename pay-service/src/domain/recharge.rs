//! A recharge and its states: `docs/state-machines.md` has the picture.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Order;

/// An order that was taken, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recharge {
    /// Our number of it: a `UUIDv7` of the millisecond of `created_at`.
    pub tx_no: Uuid,
    /// What was asked for.
    pub order: Order,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
    /// What became of it.
    pub status: Status,
}

/// What became of a recharge. All but `Pending` are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The channel has not told a result.
    Pending,
    /// Paid.
    Succeeded {
        /// When the result was taken.
        settled_at: DateTime<Utc>,
    },
    /// The channel could not collect the money.
    Failed {
        /// When the result was taken.
        settled_at: DateTime<Utc>,
        /// The channel's reason.
        failure: String,
    },
    /// Given up unpaid.
    Closed {
        /// When the result was taken.
        settled_at: DateTime<Utc>,
    },
}

/// A status without its data: for filters, metrics and event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusName {
    /// See [`Status::Pending`].
    Pending,
    /// See [`Status::Succeeded`].
    Succeeded,
    /// See [`Status::Failed`].
    Failed,
    /// See [`Status::Closed`].
    Closed,
}

/// A final result as a channel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Paid.
    Succeeded,
    /// Not paid, with the channel's reason.
    Failed {
        /// The channel's reason.
        failure: String,
    },
    /// Given up unpaid.
    Closed,
}

/// A recharge with its final result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It became final by this.
    Now(Recharge),
    /// It had this result before; nothing changes.
    Before(Recharge),
}

/// The recharge is final with another result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recharge is final: it {}", .is.as_str())]
pub struct Refused {
    /// The result it has and keeps.
    pub is: StatusName,
}

impl Recharge {
    /// Takes `order` at `now`. A channel that settles at once makes it succeed here.
    ///
    /// `created_at` is moved to the millisecond of `tx_no` when ids ran ahead of the clock, by two
    /// seconds at most, so that a period of time is always a range of numbers. `settled_at` is the
    /// clock's.
    pub fn take(tx_no: Uuid, order: Order, now: DateTime<Utc>) -> Self {
        let created_at = match stamp(tx_no) {
            Some(stamp) if stamp.timestamp_millis() != now.timestamp_millis() => stamp,
            _ => now,
        };
        let at_once = order.channel.settles_at_once();
        let status = if at_once { Status::Succeeded { settled_at: now } } else { Status::Pending };
        Self { tx_no, order, created_at, status }
    }

    /// Takes the channel's result. The same result again changes nothing, another one is refused:
    /// what is final stays.
    pub fn settle(self, outcome: Outcome, now: DateTime<Utc>) -> Result<Settled, Refused> {
        let is = self.status.name();
        if is == StatusName::Pending {
            return Ok(Settled::Now(Self { status: outcome.at(now), ..self }));
        }
        if is == outcome.name() { Ok(Settled::Before(self)) } else { Err(Refused { is }) }
    }
}

fn stamp(tx_no: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = tx_no.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

impl Outcome {
    fn at(self, settled_at: DateTime<Utc>) -> Status {
        match self {
            Self::Succeeded => Status::Succeeded { settled_at },
            Self::Failed { failure } => Status::Failed { settled_at, failure },
            Self::Closed => Status::Closed { settled_at },
        }
    }

    fn name(&self) -> StatusName {
        match self {
            Self::Succeeded => StatusName::Succeeded,
            Self::Failed { .. } => StatusName::Failed,
            Self::Closed => StatusName::Closed,
        }
    }
}

impl Status {
    /// The status without its data.
    pub fn name(&self) -> StatusName {
        match self {
            Self::Pending => StatusName::Pending,
            Self::Succeeded { .. } => StatusName::Succeeded,
            Self::Failed { .. } => StatusName::Failed,
            Self::Closed { .. } => StatusName::Closed,
        }
    }

    /// When it became final.
    pub fn settled_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Pending => None,
            Self::Succeeded { settled_at }
            | Self::Failed { settled_at, .. }
            | Self::Closed { settled_at } => Some(*settled_at),
        }
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

impl StatusName {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Succeeded, Self::Failed, Self::Closed];

    /// The name in requests, answers, metrics and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }

    /// The status of this name; `None` when there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::OrderDraft;

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().expect("a time")
    }

    fn taken(channel: &str) -> Recharge {
        let draft = OrderDraft {
            merchant: "shop".into(),
            merchant_order_no: "order-1".into(),
            account_no: "6222".into(),
            amount: 1,
            currency: None,
            channel: Some(channel.into()),
            attach: None,
        };
        Recharge::take(Uuid::nil(), Order::new(draft).expect("valid"), at("2026-01-01T00:00:00Z"))
    }

    fn outcomes() -> [Outcome; 3] {
        [Outcome::Succeeded, Outcome::Failed { failure: "no money".into() }, Outcome::Closed]
    }

    #[test]
    fn instant_succeeds_at_once_and_every_other_channel_waits() {
        assert_eq!(taken("instant").status.name(), StatusName::Succeeded);
        for channel in ["sandbox", "alipay", "wechatpay"] {
            assert_eq!(taken(channel).status, Status::Pending);
        }
    }

    #[test]
    fn a_pending_recharge_takes_any_result_and_a_final_one_only_its_own_again() {
        let now = at("2026-01-01T00:00:05Z");
        for first in outcomes() {
            let Ok(Settled::Now(done)) = taken("sandbox").settle(first.clone(), now) else {
                panic!("a pending recharge takes {first:?}");
            };
            assert_eq!(done.status.settled_at(), Some(now));
            for second in outcomes() {
                let again = done.clone().settle(second.clone(), now + TimeDelta::seconds(1));
                if second == first {
                    assert_eq!(again, Ok(Settled::Before(done.clone())));
                } else {
                    assert_eq!(again, Err(Refused { is: done.status.name() }));
                }
            }
        }
    }

    #[test]
    fn the_time_of_creation_is_in_the_millisecond_of_the_number() {
        let now = at("2026-01-01T00:00:00.123456Z");
        let number = |millis: u64| uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid();
        let millis = u64::try_from(now.timestamp_millis()).expect("after 1970");
        let order = taken("instant").order;
        assert_eq!(Recharge::take(number(millis), order.clone(), now).created_at, now);
        let ahead = Recharge::take(number(millis + 7), order, now);
        assert_eq!(ahead.created_at, at("2026-01-01T00:00:00.130Z"));
        assert_eq!(ahead.status.settled_at(), Some(now), "that is the clock's time");
    }
}
