//! The service put together: endpoints, intake, engine, bulk actions, and their orderly end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use axum::Router;
use messaging::Broker;
use messaging::broker::{NOTIFIER_EVENTS, check_queue};
use messaging::consumer::Intake;
use prometheus::Registry;
use runtime::clock::{ClockCheck, register_clock_metrics};
use runtime::http::{Check, Readiness, Shell, serve};
use runtime::keys::{self, Keyring};
use runtime::startup::until_open;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources, background};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::api;
use crate::domain::backlog::Limits;
use crate::domain::{DisableAfter, MerchantLimits, Retention};
use crate::engine::{Engine, EngineParts, Ingest};
use crate::store::Store;
use crate::usecases::Tools;
use crate::usecases::bulk::{self, RunBulks};
use crate::usecases::clamp_times::{self, ClampTimes};
use crate::usecases::hold_keys::{self, HoldKeys};
use crate::usecases::operators::Operators;
use crate::usecases::reseal_secrets::{self, ResealSecrets};
use crate::usecases::upkeep::{self, LONGEST_STOP, Upkeep};
use crate::webhook::{Egress, SystemLookup, WebhookClient};

/// How long the intake rests when it has nothing to do; it waits for messages by itself.
const INTAKE_POLL: Duration = Duration::from_millis(10);

/// What a running notifier is made of.
pub struct Parts {
    /// Who may call.
    pub keyring: Keyring,
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Where events come from.
    pub broker: Arc<dyn Broker>,
    /// Time, randomness, ids.
    pub sources: Sources,
    /// How webhooks leave this machine.
    pub egress: Egress,
    /// How many attempts may be under way at once.
    pub max_in_flight: u32,
    /// For how long an endpoint must have failed before its subscription is disabled.
    pub disable_after: DisableAfter,
    /// How long the log is kept.
    pub retention: Retention,
    /// From when on operators are told of a backlog.
    pub backlog_limits: Limits,
    /// What one merchant may have or run at once.
    pub merchant_limits: MerchantLimits,
    /// Where spans go.
    pub spans: Spans,
}

/// The parts put together, not yet running.
pub struct Service {
    /// All endpoints.
    pub router: Router,
    /// Takes events from the queue.
    pub intake: Intake<Ingest>,
    /// Delivers.
    pub engine: Engine,
    /// Carries replays and cancellations out.
    pub bulks: RunBulks,
    /// Encrypts what is not under the first key.
    pub reseal: ResealSecrets,
    bulks_wake: Arc<Notify>,
    /// Keeps the tables in order.
    pub upkeep: Upkeep,
    upkeep_wake: Arc<Notify>,
    /// Brings times back that were written with a clock that was ahead.
    pub clamp_times: ClampTimes,
    /// Tells operators what they should know.
    pub operators: Operators,
}

impl Service {
    /// Puts `parts` together; what runs ends with `shutdown`. Must be called inside of a tokio
    /// runtime.
    pub fn new(parts: Parts, shutdown: Shutdown) -> anyhow::Result<Self> {
        let Parts {
            keyring,
            store,
            broker,
            sources,
            egress,
            max_in_flight,
            disable_after,
            retention,
            backlog_limits,
            merchant_limits,
            spans,
        } = parts;
        let lookup = Arc::new(SystemLookup::default());
        let sender = Arc::new(WebhookClient::new(egress, lookup, sources.clock.clone()));
        let metrics = Registry::new();
        broker.register(&metrics).context("the broker's metrics")?;
        let engine_parts = EngineParts {
            store: store.clone(),
            sender: sender.clone(),
            sources: sources.clone(),
            shutdown,
            spans: spans.clone(),
            max_in_flight,
            disable_after,
        };
        let engine = Engine::new(engine_parts, &metrics).context("the engine's metrics")?;
        let intake = Intake::new("notifier.intake", broker.clone(), NOTIFIER_EVENTS, engine.ingest())
            .with_spans(spans.clone(), sources.clock.clone());
        let told = (sources.clone(), spans);
        let operators = Operators::new(store.clone(), broker.clone(), told, backlog_limits, &metrics)
            .context("the backlog's metrics")?;
        let readiness = Readiness::new()
            .with("database", Arc::new(Database(store.clone())))
            .with("broker", Arc::new(Queue(broker)))
            .with_optional("clock", Arc::new(ClockCheck(sources.clock.clone())));
        register_clock_metrics(&metrics, sources.clock.clone()).context("the clock's metrics")?;
        let bulks_wake = Arc::new(Notify::new());
        let upkeep_wake = Arc::new(Notify::new());
        let (schedule, bulks, upkeep) = (engine.schedule(), bulks_wake.clone(), upkeep_wake.clone());
        let reseal = ResealSecrets::new(store.clone());
        let bounds = engine.bounds();
        let tools =
            Tools { store, sources, schedule, bulks, upkeep, sender, limits: merchant_limits, bounds };
        let api::Endpoints { router, large, openapi } = api::endpoints(tools.clone(), engine.publisher());
        let upkeep = Upkeep::new(tools.clone(), retention, &metrics).context("the upkeep's metrics")?;
        Ok(Self {
            router: Shell { keyring, readiness, metrics, openapi }.into_router_with(
                router,
                large,
                api::MAX_BATCH_BYTES,
            ),
            intake,
            engine,
            clamp_times: ClampTimes::new(tools.clone()),
            bulks: RunBulks(tools),
            reseal,
            bulks_wake,
            upkeep,
            upkeep_wake,
            operators,
        })
    }
}

/// Serves on `listener`, takes events and delivers until `shutdown`; returns when everything has
/// ended.
pub async fn run(listener: TcpListener, parts: Parts, shutdown: Shutdown) -> anyhow::Result<()> {
    let broker = parts.broker.clone();
    let (store, clock) = (parts.store.clone(), parts.sources.clock.clone());
    let seen = until_open("database", &shutdown, || store.last_seen()).await;
    if let Some(seen) = seen.flatten() {
        clock.expect_since(seen, LONGEST_STOP);
    }
    let holding = HoldKeys::start(parts.store.clone(), parts.sources.clone(), &shutdown).await?;
    let Some(mut holding) = holding else {
        broker.close().await;
        return Ok(());
    };
    let keys = keys::follow(parts.keyring.clone(), shutdown.clone());
    let service = Service::new(parts, shutdown.clone())?;
    let Service {
        router,
        intake,
        engine,
        bulks,
        bulks_wake,
        reseal,
        upkeep,
        upkeep_wake,
        clamp_times,
        operators,
    } = service;
    let keys = tokio::spawn(keys);
    let never = Arc::new(Notify::new());
    let clamping = background::run(clamp_times, never.clone(), clamp_times::POLL, shutdown.clone());
    let clamping = tokio::spawn(clamping);
    let intake = tokio::spawn(background::run(intake, never.clone(), INTAKE_POLL, shutdown.clone()));
    let reseal = tokio::spawn(background::run(reseal, never.clone(), reseal_secrets::POLL, shutdown.clone()));
    let stop = shutdown.clone();
    let holding = tokio::spawn(async move {
        background::run(&mut holding, never, hold_keys::POLL, stop).await;
        holding
    });
    let engine = tokio::spawn(engine.run());
    let operators = tokio::spawn(operators.run(shutdown.clone()));
    let bulks = tokio::spawn(background::run(bulks, bulks_wake, bulk::POLL, shutdown.clone()));
    let upkeep = tokio::spawn(background::run(upkeep, upkeep_wake, upkeep::POLL, shutdown.clone()));
    let served = serve(listener, router, shutdown.clone()).await;
    shutdown.stop_softly();
    intake.await?;
    bulks.await?;
    upkeep.await?;
    reseal.await?;
    clamping.await?;
    operators.await?;
    keys.await?;
    engine.await?;
    // Only now is nothing encrypted any more.
    holding.await?.end().await;
    broker.close().await;
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
        check_queue(&*self.0, NOTIFIER_EVENTS).await
    }
}
