//! The same store, as far as it keeps reconciliations of periods.

use account_service::domain::{
    Cancellation, Credit, DifferenceKind, Ended, Findings, KeptDifference, Period, Reconciled,
    Reconciliation, Stretch,
};
use account_service::pay_service::StatementQuery;
use account_service::store::ReconciliationStore;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use uuid::Uuid;

use super::mortal::{Done, Mortal, nothing};
use super::statement;

/// What a process has done of a reconciliation, or was told for it.
#[derive(Debug, Clone)]
pub enum Step {
    /// Somebody asked for it; whether it is kept.
    Begun(Reconciliation, bool),
    Claimed {
        token: Uuid,
        at: DateTime<Utc>,
        until: DateTime<Utc>,
        walk: Option<Reconciliation>,
    },
    /// What is credited of the period after a number, and how much was asked for at most.
    Read {
        period: Period,
        after: Option<Uuid>,
        limit: u16,
        credits: Vec<Credit>,
    },
    /// A page of the statement.
    Told(StatementQuery, Option<statement::Page>),
    Kept {
        token: Uuid,
        stretch: Stretch,
        at: DateTime<Utc>,
        outcome: Option<(Reconciliation, Findings)>,
    },
    PutOff(Uuid, Reconciliation),
}

impl Mortal {
    async fn step<T>(
        &self,
        call: impl Future<Output = StoreResult<T>>,
        step: impl FnOnce(&T) -> Step,
    ) -> StoreResult<T> {
        self.call(call, |answer| Some(Done::Step(Box::new(step(answer))))).await
    }
}

#[async_trait]
impl ReconciliationStore for Mortal {
    async fn start_reconciliation(&self, new: &Reconciliation) -> StoreResult<bool> {
        let begun = |kept: &bool| Step::Begun(new.clone(), *kept);
        self.step(self.store.start_reconciliation(new), begun).await
    }

    async fn claim_reconciliation(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> StoreResult<Option<Reconciliation>> {
        let claimed = |walk: &Option<_>| Step::Claimed { token, at: now, until, walk: walk.clone() };
        self.step(self.store.claim_reconciliation(token, now, until), claimed).await
    }

    async fn credits_after(
        &self,
        period: Period,
        after: Option<Uuid>,
        limit: u16,
    ) -> StoreResult<Vec<Credit>> {
        let read = |credits: &Vec<_>| Step::Read { period, after, limit, credits: credits.clone() };
        self.step(self.store.credits_after(period, after, limit), read).await
    }

    async fn keep_stretch(
        &self,
        token: Uuid,
        id: Uuid,
        stretch: &Stretch,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<(Reconciliation, Findings)>> {
        let kept = |outcome: &Option<_>| Step::Kept {
            token,
            stretch: stretch.clone(),
            at: now,
            outcome: outcome.clone(),
        };
        self.step(self.store.keep_stretch(token, id, stretch, now), kept).await
    }

    async fn put_off_reconciliation(&self, token: Uuid, put_off: &Reconciliation) -> StoreResult<()> {
        let done = |(): &_| Step::PutOff(token, put_off.clone());
        self.step(self.store.put_off_reconciliation(token, put_off), done).await
    }

    async fn cancel_reconciliation(
        &self,
        id: Uuid,
        cancellation: &Cancellation,
    ) -> StoreResult<Option<Result<Reconciliation, Ended>>> {
        self.call(self.store.cancel_reconciliation(id, cancellation), nothing).await
    }

    async fn reconciled(&self, now: DateTime<Utc>) -> StoreResult<Reconciled> {
        self.call(self.store.reconciled(now), nothing).await
    }

    async fn void_reconciliations(&self, now: DateTime<Utc>) -> StoreResult<u64> {
        self.call(self.store.void_reconciliations(now), nothing).await
    }

    async fn reconciliations(&self, page: Page) -> StoreResult<Vec<Reconciliation>> {
        self.call(self.store.reconciliations(page), nothing).await
    }

    async fn reconciliation(&self, id: Uuid) -> StoreResult<Option<Reconciliation>> {
        self.call(self.store.reconciliation(id), nothing).await
    }

    async fn differences(
        &self,
        id: Uuid,
        kind: Option<DifferenceKind>,
        page: Page,
    ) -> StoreResult<Vec<KeptDifference>> {
        self.call(self.store.differences(id, kind, page), nothing).await
    }
}
