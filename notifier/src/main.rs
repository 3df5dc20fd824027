//! The `notifier` program.

use std::sync::Arc;

use anyhow::Context;
use notifier::{Parts, Settings, run, secrets, store};
use runtime::descriptors::affordable;
use runtime::settings::{Action, load_or_exit};
use runtime::startup::until_open;
use runtime::trace::Spans;
use runtime::{Shutdown, Sources, descriptors, http, telemetry};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings: Settings = load_or_exit();
    telemetry::init(settings.common.log_format);
    descriptors::raise();
    let listen = settings.listen.listen;
    match settings.action {
        Action::Serve => serve(settings).await,
        Action::Migrate => {
            let (connections, now) = (settings.database_max_connections, Sources::system().clock.now());
            store::open(&settings.database()?, connections, Arc::default(), settings.retention, now)
                .await
                .map(drop)
        }
        Action::Healthcheck => Ok(http::healthcheck::ask_readyz(listen).await?),
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals(settings.common.grace_period.0)?;
    let listen = settings.listen.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen}"))?;
    let (spans, posting) = Spans::start(&settings.common.trace, "notifier")?;
    let Some(parts) = parts(&settings, &shutdown, spans).await? else { return Ok(()) };
    tracing::info!(http.listen = %listen, database = %settings.database_url, broker = %settings.broker_url, "service.started");
    let ended = run(listener, parts, shutdown).await;
    posting.finish().await;
    ended
}

/// Waits for what the service can't start without; `None` when it is stopped meanwhile.
async fn parts(settings: &Settings, shutdown: &Shutdown, spans: Spans) -> anyhow::Result<Option<Parts>> {
    let sources = Sources::trusting_after(settings.common.clock_trust_after.0);
    let keyring = settings.common.keyring(sources.clock.clone())?;
    let vault = secrets::vault(&settings.secret_keys, &settings.database_url, sources.entropy.clone())?;
    let (database, broker) = (settings.database()?, settings.broker()?);
    let connections = affordable("DATABASE_MAX_CONNECTIONS", settings.database_max_connections);
    let retention = settings.retention;
    let open = || store::open(&database, connections, vault.clone(), retention, sources.clock.now());
    let Some(store) = until_open("database", shutdown, open).await else { return Ok(None) };
    let missing_keys = || store.missing_keys();
    let Some(missing) = until_open("database", shutdown, missing_keys).await else { return Ok(None) };
    secrets::require_none_of(&missing)?;
    let open = || messaging::broker::open(&broker, "notifier", &sources);
    let Some(broker) = until_open("broker", shutdown, open).await else { return Ok(None) };
    Ok(Some(Parts {
        keyring,
        store,
        broker,
        sources,
        egress: settings.targets.egress(),
        max_in_flight: affordable("MAX_IN_FLIGHT", settings.max_in_flight),
        disable_after: settings.disable_after,
        retention: settings.retention,
        backlog_limits: settings.backlog.limits(),
        merchant_limits: settings.merchants.limits(),
        spans,
    }))
}
