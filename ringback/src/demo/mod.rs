//! `ringback demo`: the story of a notification, live, in under a minute. Everything in it is real:
//! the three services, their databases in a throw-away folder, and subscribers on loopback.

mod narrator;
mod network;
mod story;
mod subscribers;

use std::time::Duration;

use anyhow::Context;
use runtime::{Shutdown, Sources};

use crate::process::Process;
use crate::settings::Settings;
use narrator::Narrator;
use story::Story;

/// The story is over by then, or it did not come true.
const DEADLINE: Duration = Duration::from_secs(55);

/// Tells the story; an error when it did not come true.
pub async fn run(settings: Settings, sources: Sources) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("can't make a temporary folder")?;
    let settings = Settings {
        data_dir: folder.path().to_owned(),
        pay_listen: ephemeral(),
        notifier_listen: ephemeral(),
        account_listen: ephemeral(),
        ..settings
    };
    let shutdown = Shutdown::new();
    let process = Process::start(&settings, sources, shutdown.clone()).await?;
    let told =
        tokio::time::timeout(DEADLINE, async { Story::begin(&process, Narrator::new()).await?.tell().await });
    let outcome =
        told.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the story took longer than {DEADLINE:?}")));
    shutdown.stop_hard();
    process.join().await?;
    outcome
}

fn ephemeral() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}
