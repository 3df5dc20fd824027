//! `drain` with one, two and four notifiers on one database and one queue.

use super::drain::{Drain, drain};
use crate::figures::Figures;
use crate::run::Bench;

const EVENTS: usize = 100_000;

/// Each number of notifiers.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let events = bench.settings.events_or(EVENTS);
    for (notifiers, name) in [(1, "1 notifier"), (2, "2 notifiers"), (4, "4 notifiers")] {
        figures.extend(drain(bench, name, Drain { events, subscriptions: 100, notifiers }).await?);
    }
    for name in ["2 notifiers", "4 notifiers"] {
        figures.add_ratio(format!("{name} / 1 notifier"), figures.get(name), figures.get("1 notifier"));
    }
    Ok(figures)
}
