//! Beginning the reconciliation of days that are over: the last one at its time, and those that no process
//! was there for, oldest first. Any number of processes look; the database takes one of each day.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use runtime::Sources;
use runtime::database::{StoreResult, bounded};

use crate::domain::{
    BY_ITSELF, DayState, MOST_DAYS_BACK, Nightly, Origin, Period, Reconciliation, UnreconciledDays,
};
use crate::store::Store;

/// How often it is looked at days while nothing has changed here.
const LOOK: TimeDelta = TimeDelta::seconds(30);

/// Begins days.
pub struct BeginDays {
    store: Arc<dyn Store>,
    sources: Sources,
    nightly: Nightly,
    /// The last day that was due when it was looked, and when that was.
    looked: Option<(Period, DateTime<Utc>)>,
    /// The newest day that was begun here, and when that was. Days are begun oldest first, so no older one
    /// is begun again, whatever another process whose clock differs makes of it.
    begun: Option<(Period, DateTime<Utc>)>,
    /// How many unreconciled days, and how many too old ones, the log has named.
    named: (u64, u64),
}

impl BeginDays {
    /// Begins none before the first look.
    pub fn new(store: Arc<dyn Store>, sources: Sources, nightly: Nightly) -> Self {
        Self { store, sources, nightly, looked: None, begun: None, named: (0, 0) }
    }

    /// Looks again at the next occasion, since a day may have come to its end.
    pub fn look_again(&mut self) {
        self.looked = None;
    }

    /// Begins the next day, if one is due; none by a clock that is in doubt, since it might not be over.
    pub async fn look(&mut self, now: DateTime<Utc>) -> StoreResult<()> {
        if !self.sources.clock.is_trusted() {
            return Ok(());
        }
        let Some(last) = self.nightly.due(now) else { return Ok(()) };
        if self.looked.is_some_and(|(due, at)| due == last && at <= now && now < at + LOOK) {
            return Ok(());
        }
        self.begun = self.begun.filter(|(_, at)| *at <= now);
        let mut reconciled = bounded(self.store.reconciled(now)).await?;
        // This process's clock might be the one that is wrong.
        if reconciled.from_the_future && self.sources.clock.distrust().is_none() {
            let count = bounded(self.store.void_reconciliations(now)).await?;
            tracing::warn!(count, "reconciliation.voided");
            reconciled = bounded(self.store.reconciled(now)).await?;
        }
        let days = reconciled.unreconciled(last);
        self.name(&days, last);
        let is_new = |day: &Period| self.begun.is_none_or(|(newest, _)| newest.from < day.from);
        if let Some(day) = days.next.filter(is_new) {
            self.begin(day, now).await?;
        }
        self.looked = Some((last, now));
        Ok(())
    }

    async fn begin(&mut self, day: Period, now: DateTime<Utc>) -> StoreResult<()> {
        let id = self.sources.ids.next();
        let new = Reconciliation::new(id, day, Origin::Nightly, BY_ITSELF.to_owned(), now);
        if bounded(self.store.start_reconciliation(&new)).await? {
            let day = day.from.date_naive();
            tracing::info!(reconciliation.id = %id, reconciliation.day = %day, "reconciliation.nightly_begun");
        }
        self.begun = Some((day, now));
        Ok(())
    }

    /// Names the days that were missed, once each time that they have become more. The last day alone
    /// waits every night.
    fn name(&mut self, days: &UnreconciledDays, last: Period) {
        let is_missed = days.oldest().is_some_and(|oldest| oldest < last.from.date_naive());
        let missed = if is_missed { days.count() } else { 0 };
        let too_old = days.in_state(DayState::TooOld);
        let oldest = days.oldest().unwrap_or(NaiveDate::MIN);
        if missed > self.named.0 {
            tracing::warn!(days = missed, oldest = %oldest, "reconciliation.days_missed");
        }
        if too_old > self.named.1 {
            let most = MOST_DAYS_BACK;
            tracing::warn!(days = too_old, oldest = %oldest, most, "reconciliation.days_too_old");
        }
        self.named = (missed, too_old);
    }
}
