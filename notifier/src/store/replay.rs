//! Replays as they lie in their table, and what a step of one writes, the same in both databases.

use runtime::database::StoreResult;
use uuid::Uuid;

use super::log::{Table, final_states};
use super::rows::{StoredTime, optional, readable};
use crate::domain::notification::StateName;
use crate::domain::{Replay, ReplayFilter, SubscriptionId};

/// A table and, of the finished ones, the state: a range of an index in which ids are in order.
pub(super) type Source = (Table, Option<StateName>);

/// Where a replay of `state` finds notifications.
pub(super) fn sources(state: Option<StateName>) -> impl Iterator<Item = Source> {
    Table::holding(state).iter().flat_map(move |table| match table {
        Table::Waiting => vec![(Table::Waiting, state)],
        Table::Finished => final_states(state).map(|state| (Table::Finished, Some(state))).collect(),
    })
}

/// The reason in each notification's audit: which replay, and why.
pub(super) fn reason(replay: &Replay) -> String {
    match &replay.reason {
        Some(reason) => format!("replay {}: {reason}", replay.id),
        None => format!("replay {}", replay.id),
    }
}

/// A batch's size as the databases count.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The columns of a [`ReplayRow`].
macro_rules! replay_columns {
    () => {
        "id, subscription_id, merchant, state, created_from, created_to, actor, reason, matched, resent, \
         cursor_id, created_at, finished_at"
    };
}
pub(super) use replay_columns;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct ReplayRow<Time> {
    id: Uuid,
    subscription_id: Uuid,
    merchant: Option<String>,
    state: Option<String>,
    created_from: Option<Time>,
    created_to: Option<Time>,
    actor: String,
    reason: Option<String>,
    matched: i64,
    resent: i64,
    pub(super) cursor_id: Option<Uuid>,
    created_at: Time,
    finished_at: Option<Time>,
}

impl<Time: StoredTime> ReplayRow<Time> {
    pub(super) fn replay(self) -> StoreResult<Replay> {
        let id = self.id;
        readable(self.read(), "replay", id)
    }

    fn read(self) -> Option<Replay> {
        let state = match self.state {
            None => None,
            Some(text) => Some(StateName::parse(&text)?),
        };
        let filter = ReplayFilter {
            subscription: SubscriptionId(self.subscription_id),
            state,
            created_from: optional(self.created_from).ok()?,
            created_to: optional(self.created_to).ok()?,
        };
        Some(Replay {
            id: self.id,
            merchant: self.merchant,
            filter,
            actor: self.actor,
            reason: self.reason,
            matched: self.matched.try_into().ok()?,
            resent: self.resent.try_into().ok()?,
            created_at: self.created_at.time()?,
            finished_at: optional(self.finished_at).ok()?,
        })
    }
}
