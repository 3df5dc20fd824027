//! Reconciliation of whole periods: pay-service's statement and the credits here are walked along side
//! by side, a stretch at a time. Any number of processes share the walks by leases, and what a dead one
//! has left is gone on with where it stood.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{StoreResult, bounded};
use runtime::problem::Chain;
use uuid::Uuid;

use super::begin_days::BeginDays;
use crate::domain::{Arrival, CreditSource, Nightly, Origin, Period, Reconciliation, Side, Stretch};
use crate::metrics::{Call, Metrics};
use crate::pay_service::{PayService, StatementQuery, Unanswered};
use crate::store::Store;

/// What a lease lasts beyond the question: room for reading and writing.
const MARGIN: Duration = Duration::from_mins(1);

/// Begins reconciliations.
#[derive(Clone)]
pub struct StartReconciliation {
    /// The books.
    pub store: Arc<dyn Store>,
    /// Time and fresh ids.
    pub sources: Sources,
}

/// Goes on with reconciliations, and begins those of days that are over.
pub struct Reconciliations {
    store: Arc<dyn Store>,
    pay_service: Arc<dyn PayService>,
    sources: Sources,
    metrics: Metrics,
    merchant: String,
    timeout: Duration,
    periods: PeriodPlan,
    days: BeginDays,
}

/// Whose statement is walked along, and when.
#[derive(Debug, Clone)]
pub struct ReconciliationPlan {
    /// Whose recharges these are.
    pub merchant: String,
    /// How long pay-service may take to answer.
    pub timeout: Duration,
    /// Which periods by themselves, and how far at a time.
    pub periods: PeriodPlan,
}

/// How periods are reconciled.
#[derive(Debug, Clone, Copy)]
pub struct PeriodPlan {
    /// When days that are over are reconciled.
    pub nightly: Nightly,
    /// How many recharges and how many credits are read at once: what is in memory of a walk.
    /// pay-service tells 200 at most.
    pub page: u16,
}

impl PeriodPlan {
    /// Days at this time, 200 rows at a time.
    pub fn standard(nightly: Nightly) -> Self {
        Self { nightly, page: 200 }
    }
}

impl StartReconciliation {
    /// A reconciliation of `period`; `None` when too many are under way.
    pub async fn asked(&self, period: Period, by: String) -> StoreResult<Option<Reconciliation>> {
        let (id, now) = (self.sources.ids.next(), self.sources.clock.now());
        let new = Reconciliation::new(id, period, Origin::Asked, by, now);
        Ok(self.store.start_reconciliation(&new).await?.then_some(new))
    }
}

impl Reconciliations {
    /// Reconciliations that count what they find in `metrics`.
    pub fn new(
        store: Arc<dyn Store>,
        pay_service: Arc<dyn PayService>,
        sources: Sources,
        metrics: Metrics,
        plan: ReconciliationPlan,
    ) -> Self {
        let ReconciliationPlan { merchant, timeout, periods } = plan;
        let days = BeginDays::new(store.clone(), sources.clone(), periods.nightly);
        Self { store, pay_service, sources, metrics, merchant, timeout, periods, days }
    }

    /// Longer than an unanswered question takes.
    fn lease(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + TimeDelta::from_std(self.timeout + MARGIN).unwrap_or(TimeDelta::minutes(10))
    }

    /// The next stretch of both sides. The credits are read first: what was credited by then had
    /// succeeded by then, so what the statement says otherwise after it is a difference.
    async fn read(&self, walk: &Reconciliation) -> StoreResult<Result<Stretch, Unanswered>> {
        let (period, after, limit) = (walk.period, walk.progress.after, self.periods.page);
        let mut credits = bounded(self.store.credits_after(period, after, limit.saturating_add(1))).await?;
        let more = credits.len() > usize::from(limit);
        credits.truncate(usize::from(limit));
        let there = self.ask(StatementQuery { period, after, limit }).await;
        Ok(there.map(|there| Stretch::meet(there, Side { rows: credits, more })))
    }

    /// A page of the statement, as long as it is the one that was asked for.
    async fn ask(&self, query: StatementQuery) -> Result<Side<Arrival>, Unanswered> {
        let page = self.pay_service.statement(&query).await;
        let page = page.and_then(|page| page.answering(&query, &self.merchant));
        let outcome = if page.is_ok() { Call::Answered } else { Call::Unknown };
        self.metrics.pay_service_call("statement", outcome);
        page
    }

    async fn go_on(&self, walk: Reconciliation, token: Uuid) -> Result<(), RoundError> {
        match self.read(&walk).await? {
            Ok(stretch) => self.keep(&walk, token, &stretch).await,
            Err(error) => self.put_off(walk, token, &error).await,
        }
    }

    async fn keep(&self, walk: &Reconciliation, token: Uuid, stretch: &Stretch) -> Result<(), RoundError> {
        let now = self.sources.clock.now();
        let Some((walk, findings)) = bounded(self.store.keep_stretch(token, walk.id, stretch, now)).await?
        else {
            tracing::warn!(reconciliation.id = %walk.id, "reconciliation.lease_lost");
            return Ok(());
        };
        for verdict in &findings.verdicts {
            self.metrics.result(CreditSource::Statement, verdict);
        }
        for difference in &findings.differences {
            self.metrics.difference(difference.kind);
        }
        if walk.is_finished() {
            let (pages, recharges) = (walk.progress.pages, walk.progress.recharges);
            let differences: u64 = walk.progress.differences.values().sum();
            tracing::info!(reconciliation.id = %walk.id, pages, recharges, differences, "reconciliation.finished");
        }
        Ok(())
    }

    async fn put_off(
        &self,
        mut walk: Reconciliation,
        token: Uuid,
        error: &Unanswered,
    ) -> Result<(), RoundError> {
        let why = error.wrong_answer().map_or_else(|| Chain(error).to_string(), |wrong| wrong.detail);
        tracing::warn!(reconciliation.id = %walk.id, error = why, "reconciliation.pay_service_unanswered");
        walk.put_off(why, self.sources.clock.now(), self.sources.entropy.lot());
        bounded(self.store.put_off_reconciliation(token, &walk)).await?;
        Ok(())
    }
}

#[async_trait]
impl Worker for Reconciliations {
    fn name(&self) -> &'static str {
        "reconciliations"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let (token, now) = (self.sources.ids.next(), self.sources.clock.now());
        self.days.look(now).await?;
        let claimed = self.store.claim_reconciliation(token, now, self.lease(now));
        let Some(walk) = bounded(claimed).await? else { return Ok(Progress::Idle) };
        self.go_on(walk, token).await?;
        self.days.look_again();
        Ok(Progress::More)
    }
}
