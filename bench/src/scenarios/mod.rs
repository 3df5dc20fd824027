//! What is measured, a scenario a file.

mod backlog;
mod credit;
mod drain;
mod feed;
mod flow;
mod growth;
mod neighbours;
mod publisher;
mod scale;
mod system;

use crate::figures::Figures;
use crate::run::Bench;
use crate::settings::Scenario;

/// Measures the run's scenario once.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    match bench.settings.scenario {
        Scenario::Flow => flow::measure(bench).await,
        Scenario::Drain => drain::measure(bench).await,
        Scenario::Credit => credit::measure(bench).await,
        Scenario::Neighbours => neighbours::measure(bench).await,
        Scenario::Scale => scale::measure(bench).await,
        Scenario::Growth => growth::measure(bench).await,
        Scenario::Backlog => backlog::measure(bench).await,
        Scenario::Feed => feed::measure(bench).await,
    }
}
