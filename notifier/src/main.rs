//! The `notifier` program.

use anyhow::Context;
use notifier::{Parts, Settings, run, store};
use runtime::settings::{Action, load_or_exit};
use runtime::startup::until_open;
use runtime::{Shutdown, Sources, http, telemetry};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings: Settings = load_or_exit();
    telemetry::init(settings.common.log_format);
    let listen = settings.listen.listen;
    match settings.action {
        Action::Serve => serve(settings).await,
        Action::Migrate => {
            store::open(&settings.database_url, settings.database_max_connections).await.map(drop)
        }
        Action::Healthcheck => Ok(http::healthcheck::ask_readyz(listen).await?),
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals(settings.common.grace_period.0)?;
    let listen = settings.listen.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen}"))?;
    let Some(parts) = parts(&settings, &shutdown).await else { return Ok(()) };
    tracing::info!(http.listen = %listen, database = %settings.database_url, broker = %settings.broker_url, "service.started");
    run(listener, parts, shutdown).await
}

/// Waits for what the service can't start without; `None` when it is stopped meanwhile.
async fn parts(settings: &Settings, shutdown: &Shutdown) -> Option<Parts> {
    let sources = Sources::system();
    let open = || store::open(&settings.database_url, settings.database_max_connections);
    let store = until_open("database", shutdown, open).await?;
    let open = || messaging::broker::open(&settings.broker_url, "notifier", &sources);
    let broker = until_open("broker", shutdown, open).await?;
    Some(Parts {
        keyring: settings.common.keyring(),
        store,
        broker,
        sources,
        allow_private_targets: settings.allow_private_targets.0.clone(),
        max_in_flight: settings.max_in_flight,
    })
}
