//! The benchmark program: drives the real programs on servers of its own and measures them beside
//! what the machine itself can do. See `docs/performance.md`.

#![expect(clippy::cast_precision_loss, reason = "figures have three digits, counts fewer than 52 bits")]

mod books;
mod clock;
mod cpu;
mod events;
mod figures;
mod ground;
mod load;
mod machine;
mod process_stats;
mod progress;
mod receiver;
mod report;
mod run;
mod scenarios;
mod services;
mod settings;
mod statements;
mod targets;
mod yardsticks;

use clap::Parser;

use settings::Settings;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let report = run::run(&settings).await?;
    report.publish(settings.json.as_deref())
}
