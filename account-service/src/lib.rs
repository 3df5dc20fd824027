//! Accounts, credits that happen once, and the query that finds what no notification brought.

#![cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, unused_imports, unused_variables, reason = "lints look at the build with all features")
)]

mod api;
pub mod domain;
mod metrics;
pub mod pay_service;
mod queue;
pub mod settings;
pub mod store;
mod use_cases;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use chrono::TimeDelta;
use messaging::broker::{RECHARGE_RESULTS, check_queue};
use messaging::consumer::Intake;
use messaging::webhook::WebhookSecret;
use messaging::{Broker, Ladder};
use prometheus::Registry;
use runtime::background::{self, Worker};
use runtime::clock::{ClockCheck, register_clock_metrics};
use runtime::http::{Check, Readiness, Shell, serve};
use runtime::keys::{self, Keyring};
use runtime::startup::until_open;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::api::App;
use crate::metrics::Metrics;
use crate::pay_service::PayService;
use crate::queue::CreditFromQueue;
pub use crate::settings::Settings;
use crate::store::Store;
use crate::use_cases::{
    DeadLetterQueue, FollowClock, PostResults, Posting, ReadResults, Reconcile, ReconciliationPlan,
    Reconciliations, RequestRecharge, StartReconciliation, Sweep, Watch,
};
pub use crate::use_cases::{PeriodPlan, SweepPlan};

/// How long the intake rests when its queue is empty; the queue itself waits for messages.
const INTAKE_POLL: Duration = Duration::from_millis(100);
/// How often the sweep looks for requests that are due.
const SWEEP_POLL: Duration = Duration::from_secs(1);
/// How often reconciliations are looked for that are due.
const RECONCILIATION_POLL: Duration = Duration::from_secs(1);
/// How often what is left open is measured.
const WATCH_POLL: Duration = Duration::from_secs(15);
/// How often it is asked whether the clock has stepped.
const CLOCK_POLL: Duration = Duration::from_millis(500);
/// A process that starts later than this after the last time that is known is in doubt at first.
const LONGEST_STOP: TimeDelta = TimeDelta::hours(1);

/// Everything the service needs, made by its `main` or by the all-in-one process.
pub struct Parts {
    /// Who may call.
    pub keyring: Keyring,
    /// The books.
    pub store: Arc<dyn Store>,
    /// Who is asked about recharges.
    pub pay_service: Arc<dyn PayService>,
    /// What the webhook receiver verifies with; `None` turns it off.
    pub webhook_secrets: Option<Vec<WebhookSecret>>,
    /// Where the queue of results is; `None` leaves it alone.
    pub queue: Option<ResultQueue>,
    /// The merchant whose recharges are credited here.
    pub merchant: String,
    /// When and how fast pay-service is asked about requests that nothing was heard of.
    pub sweep: SweepPlan,
    /// How periods are reconciled.
    pub periods: PeriodPlan,
    /// Time and fresh ids.
    pub sources: Sources,
    /// Where spans go.
    pub spans: Spans,
}

/// The queue of results, for a service that takes them from it.
pub struct ResultQueue {
    /// Who has it.
    pub broker: Arc<dyn Broker>,
    /// How long to wait before each further try at what can't be credited yet.
    pub ladder: Ladder,
}

/// A service that is ready to be served.
pub struct Service {
    /// Its endpoints.
    pub router: Router,
    /// Takes results from the queue, where there is one.
    pub intake: Option<Box<dyn Worker>>,
    /// Asks about requests that nothing was heard of.
    pub sweep: Box<dyn Worker>,
    /// Goes on with reconciliations.
    pub reconciliations: Box<dyn Worker>,
    /// Measures what is left open.
    pub watch: Box<dyn Worker>,
    /// Follows the clock.
    pub follow_clock: Box<dyn Worker>,
}

/// Workers without a service around them.
pub struct Workers {
    /// Takes results from the queue, where there is one.
    pub intake: Option<Box<dyn Worker>>,
    /// Asks about requests that nothing was heard of.
    pub sweep: Box<dyn Worker>,
    /// Goes on with reconciliations.
    pub reconciliations: Box<dyn Worker>,
}

impl Parts {
    /// Makes the workers alone, as often as a process begins anew, for whoever runs their rounds by
    /// hand; nobody reads their metrics.
    pub fn into_workers(self) -> Result<impl Fn() -> Workers, prometheus::Error> {
        let metrics = Metrics::new(&Registry::new())?;
        Ok(move || {
            let post = self.post_results(metrics.clone());
            let reconciliations = self.reconciliations(&metrics);
            Workers { intake: self.intake(&post), sweep: self.sweep(&post), reconciliations }
        })
    }

    /// Puts the service together; starts the task that posts results. Call it within a runtime.
    pub fn assemble(self) -> Result<Service, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry)?;
        if let Some(queue) = &self.queue {
            queue.broker.register(&registry)?;
        }
        let post = self.post_results(metrics.clone());
        let (intake, sweep, watch) = (self.intake(&post), self.sweep(&post), self.watch(&metrics));
        let reconciliations = self.reconciliations(&metrics);
        let follow_clock = self.follow_clock();
        register_clock_metrics(&registry, self.sources.clock.clone())?;
        let readiness = self.readiness();
        let (keyring, app) = self.into_app(Posting::spawn(post), metrics);
        let (endpoints, openapi) = api::endpoints(app);
        let router = Shell { keyring, readiness, metrics: registry, openapi }.into_router(endpoints);
        Ok(Service { router, intake, sweep, reconciliations, watch, follow_clock })
    }

    fn post_results(&self, metrics: Metrics) -> PostResults {
        PostResults { store: self.store.clone(), clock: self.sources.clock.clone(), metrics }
    }

    fn intake(&self, post: &PostResults) -> Option<Box<dyn Worker>> {
        let ResultQueue { broker, ladder } = self.queue.as_ref()?;
        let handler = CreditFromQueue {
            read: ReadResults { merchant: self.merchant.clone() },
            post: post.clone(),
            metrics: post.metrics.clone(),
        };
        let intake = Intake::new("results.intake", broker.clone(), RECHARGE_RESULTS, handler)
            .with_ladder(ladder.clone())
            .with_spans(self.spans.clone(), self.sources.clock.clone());
        Some(Box::new(intake))
    }

    fn sweep(&self, post: &PostResults) -> Box<dyn Worker> {
        Box::new(Sweep::new(
            self.store.clone(),
            self.pay_service.clone(),
            post.clone(),
            self.sources.clone(),
            self.merchant.clone(),
            self.sweep.clone(),
        ))
    }

    fn reconciliations(&self, metrics: &Metrics) -> Box<dyn Worker> {
        let (merchant, timeout) = (self.merchant.clone(), self.sweep.timeout);
        Box::new(Reconciliations::new(
            self.store.clone(),
            self.pay_service.clone(),
            self.sources.clone(),
            metrics.clone(),
            ReconciliationPlan { merchant, timeout, periods: self.periods },
        ))
    }

    fn watch(&self, metrics: &Metrics) -> Box<dyn Worker> {
        let (store, clock) = (self.store.clone(), self.sources.clock.clone());
        let nightly = self.periods.nightly;
        Box::new(Watch { store, clock, nightly, metrics: metrics.clone() })
    }

    fn follow_clock(&self) -> Box<dyn Worker> {
        let (store, clock) = (self.store.clone(), self.sources.clock.clone());
        Box::new(FollowClock::new(store, clock, Sweep::furthest(&self.sweep)))
    }

    fn into_app(self, posting: Posting, metrics: Metrics) -> (Keyring, App) {
        let clock = self.sources.clock.clone();
        let app = App {
            clock: clock.clone(),
            dead_letters: DeadLetterQueue {
                broker: self.queue.map(|queue| queue.broker),
                store: self.store.clone(),
                sources: self.sources.clone(),
            },
            start_reconciliation: StartReconciliation {
                store: self.store.clone(),
                sources: self.sources.clone(),
            },
            read_results: ReadResults { merchant: self.merchant.clone() },
            request_recharge: RequestRecharge {
                store: self.store.clone(),
                pay_service: self.pay_service.clone(),
                sources: self.sources,
                merchant: self.merchant.clone(),
                sweep_ladder: self.sweep.ladder,
                metrics: metrics.clone(),
            },
            reconcile: Reconcile {
                store: self.store.clone(),
                pay_service: self.pay_service,
                posting: posting.clone(),
                merchant: self.merchant.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            },
            store: self.store,
            nightly: self.periods.nightly,
            merchant: self.merchant,
            metrics,
            posting,
            webhook_secrets: self.webhook_secrets,
        };
        (self.keyring, app)
    }

    fn readiness(&self) -> Readiness {
        let readiness = Readiness::new()
            .with("database", Arc::new(Database(self.store.clone())))
            .with_optional("clock", Arc::new(ClockCheck(self.sources.clock.clone())));
        match &self.queue {
            Some(queue) => readiness.with("broker", Arc::new(Queue(queue.broker.clone()))),
            None => readiness,
        }
    }
}

/// Serves on `listener`, takes results from the queue and asks for others, until stopped; returns
/// when all of it has ended.
pub async fn run(listener: TcpListener, parts: Parts, shutdown: Shutdown) -> anyhow::Result<()> {
    let broker = parts.queue.as_ref().map(|queue| queue.broker.clone());
    let (store, clock) = (parts.store.clone(), parts.sources.clock.clone());
    let seen = until_open("database", &shutdown, || store.last_seen()).await;
    if let Some(seen) = seen.flatten() {
        clock.expect_since(seen, LONGEST_STOP);
    }
    let keys = keys::follow(parts.keyring.clone(), shutdown.clone());
    let Service { router, intake, sweep, reconciliations, watch, follow_clock } = parts.assemble()?;
    let work = async |worker, poll| {
        background::run(worker, Arc::new(Notify::new()), poll, shutdown.clone()).await;
    };
    let intake = async {
        if let Some(worker) = intake {
            work(worker, INTAKE_POLL).await;
        }
    };
    let (served, (), (), (), (), (), ()) = tokio::join!(
        serve(listener, router, shutdown.clone()),
        intake,
        work(sweep, SWEEP_POLL),
        work(reconciliations, RECONCILIATION_POLL),
        work(watch, WATCH_POLL),
        work(follow_clock, CLOCK_POLL),
        keys
    );
    if let Some(broker) = broker {
        broker.close().await;
    }
    Ok(served?)
}

struct Database(Arc<dyn Store>);

#[async_trait]
impl Check for Database {
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.check().await?)
    }
}

struct Queue(Arc<dyn Broker>);

/// Ready only once the queue is there: what is published before would pass it by.
#[async_trait]
impl Check for Queue {
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        check_queue(&*self.0, RECHARGE_RESULTS).await
    }
}
