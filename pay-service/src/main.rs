//! The `pay-service` program.

use anyhow::Context;
use pay_service::{Parts, Settings, run, store};
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
            store::open(&settings.database()?, settings.database_max_connections).await.map(drop)
        }
        Action::Healthcheck => Ok(http::healthcheck::ask_readyz(listen).await?),
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals(settings.common.grace_period.0)?;
    let listen = settings.listen.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen}"))?;
    let (spans, posting) = Spans::start(&settings.common.trace, "pay-service")?;
    let Some(parts) = parts(&settings, &shutdown, spans).await? else { return Ok(()) };
    tracing::info!(http.listen = %listen, database = %settings.database_url, broker = %settings.broker_url, "service.started");
    let ended = run(listener, parts, shutdown).await;
    posting.finish().await;
    ended
}

/// Waits for what the service can't start without; `None` when it is stopped meanwhile.
async fn parts(settings: &Settings, shutdown: &Shutdown, spans: Spans) -> anyhow::Result<Option<Parts>> {
    let (sources, database) =
        (Sources::trusting_after(settings.common.clock_trust_after.0), settings.database()?);
    let broker = settings.broker()?;
    let keyring = settings.common.keyring(sources.clock.clone())?;
    let connections = affordable("DATABASE_MAX_CONNECTIONS", settings.database_max_connections);
    let open = || store::open(&database, connections);
    let Some(store) = until_open("database", shutdown, open).await else { return Ok(None) };
    let open = || messaging::broker::open(&broker, "pay-service", &sources);
    let Some(broker) = until_open("broker", shutdown, open).await else { return Ok(None) };
    let sandbox_secret = settings.sandbox_channel_secret.clone();
    Ok(Some(Parts { keyring, store, broker, sources, sandbox_secret, spans }))
}
