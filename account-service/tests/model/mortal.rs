//! A store whose process can stop, or die, before and after every call, and a journal of what was
//! committed.

use std::sync::{Arc, Mutex, PoisonError};

use account_service::domain::{
    Account, AccountNo, Arrival, Audit, CantResolve, Contradiction, Credit, DueRequest, Exception,
    ExceptionFilter, Incident, NewAccount, NextAsk, Opened, Recharge, Request, Requeue, Resolve, Standing,
    Verdict,
};
use account_service::store::{
    Clamped, ClockStore, ExceptionStore, Furthest, Place, RequeueStore, Store, SweepStore,
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use messaging::broker::Settlement;
use runtime::database::StoreResult;
use runtime::http::Page;
use uuid::Uuid;

use super::gate::Gate;
use super::mortal_walks::Step;
use super::pay_service::Asked;

/// What a process has done for good.
#[derive(Debug, Clone)]
pub enum Done {
    Posted(Vec<Arrival>),
    Recorded(Request, DateTime<Utc>),
    Withdrawn(Uuid),
    /// An answer to a request, and whether it fits.
    Noted(Uuid, Recharge, bool),
    Kept(Vec<Incident>),
    Resolved(Uuid, Resolve, Option<Result<(), CantResolve>>),
    Claimed {
        token: Uuid,
        at: DateTime<Utc>,
        until: DateTime<Utc>,
        due: Vec<DueRequest>,
    },
    NextAsksSet(Uuid, Vec<NextAsk>),
    Asked(Asked),
    /// Taken from the queue: tags, how often each has failed, and what it holds.
    Received(Vec<(u64, u32, Bytes)>),
    Settled(Vec<(u64, Settlement)>),
    /// Of the reconciliation of a period.
    Step(Box<Step>),
}

/// What was done, in order; clones are the same journal.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Done>>>);

impl Journal {
    pub fn write(&self, done: Done) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(done);
    }

    /// What was done since the last look.
    pub fn take(&self) -> Vec<Done> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The store of one process.
pub struct Mortal {
    pub store: Arc<dyn Store>,
    pub gate: Gate,
    pub journal: Journal,
}

impl Mortal {
    /// One call: the process can stop before it and after it.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = StoreResult<T>>,
        done: impl FnOnce(&T) -> Option<Done>,
    ) -> StoreResult<T> {
        self.gate.pass().await?;
        let answer = call.await?;
        if let Some(done) = done(&answer) {
            self.journal.write(done);
        }
        self.gate.pass().await?;
        Ok(answer)
    }
}

/// What is only read leaves nothing behind.
pub fn nothing<T>(_: &T) -> Option<Done> {
    None
}

#[async_trait]
impl Store for Mortal {
    async fn open_account(&self, wish: &NewAccount, now: DateTime<Utc>) -> StoreResult<Opened> {
        self.call(self.store.open_account(wish, now), nothing).await
    }

    async fn account(&self, account_no: &AccountNo) -> StoreResult<Option<Account>> {
        self.call(self.store.account(account_no), nothing).await
    }

    async fn credits(&self, account_no: &AccountNo, page: Page) -> StoreResult<Vec<Credit>> {
        self.call(self.store.credits(account_no, page), nothing).await
    }

    async fn credit(&self, tx_no: Uuid) -> StoreResult<Option<Credit>> {
        self.call(self.store.credit(tx_no), nothing).await
    }

    async fn audit(&self, limit: u32) -> StoreResult<Audit> {
        self.call(self.store.audit(limit), nothing).await
    }

    async fn post(&self, arrivals: &[Arrival], now: DateTime<Utc>) -> StoreResult<Vec<Verdict>> {
        let posted = |_: &_| Some(Done::Posted(arrivals.to_vec()));
        self.call(self.store.post(arrivals, now), posted).await
    }

    async fn record_request(&self, request: &Request, ask_at: DateTime<Utc>) -> StoreResult<()> {
        let recorded = |(): &_| Some(Done::Recorded(request.clone(), ask_at));
        self.call(self.store.record_request(request, ask_at), recorded).await
    }

    async fn withdraw_request(&self, order: Uuid) -> StoreResult<()> {
        self.call(self.store.withdraw_request(order), |(): &_| Some(Done::Withdrawn(order))).await
    }

    async fn note_answer(
        &self,
        order: Uuid,
        answer: &Recharge,
        now: DateTime<Utc>,
    ) -> StoreResult<Result<(), Contradiction>> {
        let noted = |fits: &Result<_, _>| Some(Done::Noted(order, answer.clone(), fits.is_ok()));
        self.call(self.store.note_answer(order, answer, now), noted).await
    }

    async fn request(&self, order: Uuid) -> StoreResult<Option<Request>> {
        self.call(self.store.request(order), nothing).await
    }

    async fn standing(&self) -> StoreResult<Standing> {
        self.call(self.store.standing(), nothing).await
    }

    async fn check(&self) -> StoreResult<()> {
        self.call(self.store.check(), nothing).await
    }
}

#[async_trait]
impl ExceptionStore for Mortal {
    async fn exceptions(&self, filter: ExceptionFilter, page: Page) -> StoreResult<Vec<Exception>> {
        self.call(self.store.exceptions(filter, page), nothing).await
    }

    async fn exception(&self, id: Uuid) -> StoreResult<Option<Exception>> {
        self.call(self.store.exception(id), nothing).await
    }

    async fn note(&self, incidents: &[Incident], now: DateTime<Utc>) -> StoreResult<()> {
        let kept = |(): &_| Some(Done::Kept(incidents.to_vec()));
        self.call(self.store.note(incidents, now), kept).await
    }

    async fn resolve(
        &self,
        id: Uuid,
        decision: &Resolve,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<Result<Exception, CantResolve>>> {
        let resolved = |answer: &Option<Result<Exception, CantResolve>>| {
            let outcome = answer.clone().map(|outcome| outcome.map(|_| ()));
            Some(Done::Resolved(id, decision.clone(), outcome))
        };
        self.call(self.store.resolve(id, decision, now), resolved).await
    }
}

#[async_trait]
impl RequeueStore for Mortal {
    async fn ask_requeue(&self, requeue: &Requeue) -> StoreResult<()> {
        self.call(self.store.ask_requeue(requeue), nothing).await
    }

    async fn confirm_requeue(&self, id: Uuid, at: DateTime<Utc>) -> StoreResult<()> {
        self.call(self.store.confirm_requeue(id, at), nothing).await
    }

    async fn requeues(&self, page: Page) -> StoreResult<Vec<Requeue>> {
        self.call(self.store.requeues(page), nothing).await
    }

    async fn requeues_about(&self, letter: Uuid, event_id: Option<&str>) -> StoreResult<Vec<Requeue>> {
        self.call(self.store.requeues_about(letter, event_id), nothing).await
    }
}

#[async_trait]
impl ClockStore for Mortal {
    async fn last_seen(&self) -> StoreResult<Option<DateTime<Utc>>> {
        self.call(self.store.last_seen(), nothing).await
    }

    async fn server_time(&self) -> StoreResult<Option<DateTime<Utc>>> {
        self.call(self.store.server_time(), nothing).await
    }

    async fn note_time(&self, now: DateTime<Utc>) -> StoreResult<()> {
        self.call(self.store.note_time(now), nothing).await
    }

    async fn clamp_times(
        &self,
        after: Place,
        now: DateTime<Utc>,
        furthest: &Furthest,
        limit: u32,
    ) -> StoreResult<Clamped> {
        self.call(self.store.clamp_times(after, now, furthest, limit), nothing).await
    }
}

#[async_trait]
impl SweepStore for Mortal {
    async fn claim_requests(
        &self,
        token: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<Vec<DueRequest>> {
        let claimed = |due: &Vec<DueRequest>| Some(Done::Claimed { token, at: now, until, due: due.clone() });
        self.call(self.store.claim_requests(token, now, until, limit), claimed).await
    }

    async fn set_next_asks(&self, token: Uuid, next: &[NextAsk]) -> StoreResult<()> {
        let set = |(): &_| Some(Done::NextAsksSet(token, next.to_vec()));
        self.call(self.store.set_next_asks(token, next), set).await
    }
}
