//! How many notifications a subscription has in each state, counted no further than a cap.

use super::notification::StateName;
use super::{States, SubscriptionId, SubscriptionState};

/// How far each state of a subscription is counted: what is more takes no more time, however long
/// the log is.
pub const CAP: u32 = 10_000;

/// The notifications in one state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// So many at least.
    pub counted: u32,
    /// Whether there may be more: counting stopped at the cap.
    pub capped: bool,
}

impl Count {
    /// None.
    pub const NONE: Self = Self { counted: 0, capped: false };

    /// The count where `found` were found by looking for one more than `cap`.
    pub fn of(found: u32, cap: u32) -> Self {
        Self { counted: found.min(cap), capped: found > cap }
    }
}

/// The notifications of one subscription, each in the state that the log shows it in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// See [`StateName::Pending`].
    pub pending: Count,
    /// See [`StateName::Delivering`].
    pub delivering: Count,
    /// See [`StateName::Held`].
    pub held: Count,
    /// See [`StateName::Exhausted`].
    pub exhausted: Count,
    /// See [`StateName::Cancelled`].
    pub cancelled: Count,
    /// See [`StateName::Delivered`].
    pub delivered: Count,
}

impl Counts {
    /// Those in `state`.
    pub fn of(&self, state: StateName) -> Count {
        match state {
            StateName::Pending => self.pending,
            StateName::Delivering => self.delivering,
            StateName::Held => self.held,
            StateName::Delivered => self.delivered,
            StateName::Exhausted => self.exhausted,
            StateName::Cancelled => self.cancelled,
        }
    }

    /// Whether something is not delivered: waits or is exhausted.
    pub fn has_undelivered(&self) -> bool {
        States::UNDELIVERED.iter().any(|state| self.of(state).counted > 0)
    }

    /// The states of which there may be more than was counted.
    pub fn capped(&self) -> impl Iterator<Item = StateName> {
        StateName::ALL.into_iter().filter(|state| self.of(*state).capped)
    }
}

/// A subscription and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionCounts {
    /// Its id.
    pub id: SubscriptionId,
    /// Its name, unique per merchant.
    pub name: String,
    /// Whose it is; `None`: the operator's.
    pub merchant: Option<String>,
    /// Whether its notifications go out.
    pub state: SubscriptionState,
    /// Its notifications.
    pub counts: Counts,
}
