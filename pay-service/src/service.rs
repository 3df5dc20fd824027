//! The service put together: endpoints, the relay, and their orderly end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use messaging::broker::{NOTIFIER_EVENTS, check_queue};
use messaging::outbox::OutboxGauge;
use messaging::webhook::WebhookSecret;
use messaging::{Broker, Relay};
use runtime::clock::{ClockCheck, register_clock_metrics};
use runtime::http::{Check, Readiness, Shell, serve};
use runtime::keys::{self, Keyring};
use runtime::problem::Chain;
use runtime::startup::until_open;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources, background};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::api::{self, Api};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::usecases::Tools;
use crate::usecases::create_recharge::CreateRecharges;

/// The relay's safety net: commits wake it.
const RELAY_POLL: Duration = Duration::from_secs(1);

/// What a running pay-service is made of.
pub struct Parts {
    /// Who may call.
    pub keyring: Keyring,
    /// Where recharges are kept.
    pub store: Arc<dyn Store>,
    /// Where results are published.
    pub broker: Arc<dyn Broker>,
    /// Time, randomness, ids.
    pub sources: Sources,
    /// What the sandbox channel signs its callbacks with; without it they are not taken.
    pub sandbox_secret: Option<WebhookSecret>,
    /// Where spans go.
    pub spans: Spans,
}

/// The parts put together, not yet running.
pub struct Service {
    /// All endpoints.
    pub router: Router,
    /// Publishes what the outbox holds.
    pub relay: Relay,
    /// Measures what the outbox holds.
    pub gauge: OutboxGauge,
    wake: Arc<Notify>,
    broker: Arc<dyn Broker>,
}

impl Service {
    /// Puts `parts` together. Spawns the writer of new recharges, which ends with the router.
    pub fn new(parts: Parts) -> Self {
        let Parts { keyring, store, broker, sources, sandbox_secret, spans } = parts;
        let (metrics, wake, outbox) = (Metrics::new(), Arc::new(Notify::new()), store.outbox());
        let mut relay = Relay::new(outbox.clone(), broker.clone(), sources.clone()).with_spans(spans);
        let handover = relay.handover(wake.clone());
        let gauge = OutboxGauge::register(&metrics.registry(), outbox, sources.clock.clone())
            .expect("the registry is new and holds other names");
        let readiness = Readiness::new()
            .with("database", Arc::new(Database(store.clone())))
            .with("broker", Arc::new(Publishing(broker.clone())))
            .with_optional("clock", Arc::new(ClockCheck(sources.clock.clone())));
        register_clock_metrics(&metrics.registry(), sources.clock.clone())
            .expect("the registry is new and holds other names");
        let registry = metrics.registry();
        broker.register(&registry).expect("the registry holds other names");
        let tools = Tools { store, sources, relay: handover, metrics };
        let create = CreateRecharges::spawn(tools.clone());
        let (endpoints, openapi) = api::endpoints(Api { create, tools, sandbox_secret });
        let router = Shell { keyring, readiness, metrics: registry, openapi }.into_router(endpoints);
        Self { router, relay, gauge, wake, broker }
    }
}

/// Serves on `listener` and publishes results until `shutdown`; returns when everything has ended.
pub async fn run(listener: TcpListener, parts: Parts, shutdown: Shutdown) -> anyhow::Result<()> {
    let keys = tokio::spawn(keys::follow(parts.keyring.clone(), shutdown.clone()));
    let Service { router, relay, gauge, wake, broker } = Service::new(parts);
    let publishing = tokio::spawn(publish(relay, wake, broker.clone(), shutdown.clone()));
    let never = Arc::new(Notify::new());
    let measuring = tokio::spawn(background::run(gauge, never, OutboxGauge::POLL, shutdown.clone()));
    let served = serve(listener, router, shutdown.clone()).await;
    shutdown.stop_softly();
    publishing.await?;
    measuring.await?;
    keys.await?;
    broker.close().await;
    Ok(served?)
}

/// The notifier's queue must be there before the first result is published, whichever service
/// starts first: without it the result would go nowhere and come back as unroutable.
async fn publish(mut relay: Relay, wake: Arc<Notify>, broker: Arc<dyn Broker>, shutdown: Shutdown) {
    let declared = until_open("broker", &shutdown, || broker.declare(NOTIFIER_EVENTS)).await;
    if declared.is_some() {
        background::run(&mut relay, wake, RELAY_POLL, shutdown).await;
    }
    if let Err(error) = relay.give_up().await {
        tracing::warn!(error = %Chain(&*error), "outbox.not_given_back");
    }
}

struct Database(Arc<dyn Store>);

#[async_trait]
impl Check for Database {
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.check().await?)
    }
}

struct Publishing(Arc<dyn Broker>);

/// Ready only while the queue that must receive every result is there: without it none is published.
#[async_trait]
impl Check for Publishing {
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        check_queue(&*self.0, NOTIFIER_EVENTS).await
    }
}
