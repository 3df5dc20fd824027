//! The account-service process.

use account_service::pay_service::HttpPayService;
use account_service::{Parts, PeriodPlan, ResultQueue, Settings, run, store};
use anyhow::Context;
use runtime::descriptors::affordable;
use runtime::http::healthcheck::ask_readyz;
use runtime::settings::{Action, load_or_exit};
use runtime::startup::until_open;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources, descriptors, telemetry};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings: Settings = load_or_exit();
    if settings.action == Action::Healthcheck {
        return Ok(ask_readyz(settings.listen).await?);
    }
    telemetry::init(settings.common.log_format);
    descriptors::raise();
    let shutdown = Shutdown::on_signals(settings.common.grace_period.0)?;
    let database = settings.database()?;
    let connections = affordable("DATABASE_MAX_CONNECTIONS", settings.database_max_connections);
    let open_store = || store::open(&database, connections);
    if settings.action == Action::Migrate {
        return until_open("database", &shutdown, open_store).await.map(|_| ()).context("stopped");
    }
    let (webhook_secrets, broker_url) = (settings.webhook_secrets()?, settings.queue_broker()?);
    let key = settings.pay_service_key()?;
    let pay_service =
        HttpPayService::new(settings.pay_service_url.clone(), key, settings.pay_service_timeout.0)?;
    let sources = Sources::trusting_after(settings.common.clock_trust_after.0);
    let keyring = settings.common.keyring(sources.clock.clone())?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("LISTEN: can't listen on {}", settings.listen))?;
    let Some(store) = until_open("database", &shutdown, open_store).await else { return Ok(()) };
    let queue = match broker_url {
        None => None,
        Some(url) => {
            let open = || messaging::broker::open(&url, "account-service", &sources);
            let Some(broker) = until_open("broker", &shutdown, open).await else { return Ok(()) };
            Some(ResultQueue { broker, ladder: settings.queue_ladder.clone() })
        }
    };
    tracing::info!(listen = %listener.local_addr()?, database = %settings.database_url, "account_service.started");
    let (spans, posting) = Spans::start(&settings.common.trace, "account-service")?;
    let parts = Parts {
        keyring,
        store,
        pay_service: std::sync::Arc::new(pay_service),
        webhook_secrets,
        queue,
        sweep: settings.sweep(),
        periods: PeriodPlan::standard(settings.nightly_reconciliation),
        merchant: settings.merchant,
        sources,
        spans,
    };
    let ended = run(listener, parts, shutdown).await;
    posting.finish().await;
    ended
}
