//! `ringback`: the three services in one process on `SQLite`, and the demo.

mod banner;
mod client;
mod data_directory;
mod demo;
mod key_commands;
mod keys;
mod process;
mod provision;
mod settings;

use std::process::ExitCode;

use runtime::settings::load_or_exit;
use runtime::{Shutdown, Sources, descriptors, telemetry};

use crate::process::Process;
use crate::settings::{Action, Settings};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<_> = std::env::args_os().collect();
    if key_commands::asked_for(&arguments) {
        return key_commands::run(arguments).await;
    }
    let settings: Settings = load_or_exit();
    // The demo's lines are the story; its log is for those who ask for it.
    if settings.action == Action::Serve || std::env::var_os("RUST_LOG").is_some() {
        telemetry::init(settings.common.log_format);
    }
    descriptors::raise();
    let sources = Sources::trusting_after(settings.common.clock_trust_after.0);
    match settings.action {
        Action::Serve => serve(settings, sources).await?,
        Action::Demo => demo::run(settings, sources).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: Settings, sources: Sources) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals(settings.common.grace_period.0)?;
    let process = Process::start(&settings, sources, shutdown).await?;
    // Nobody need read it: the process serves all the same.
    let _ = banner::print(&process, std::io::stdout());
    process.join().await
}
