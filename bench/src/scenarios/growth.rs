//! What a notification costs when more and more have been delivered: the CPU time of notifier and
//! Postgres together, and the rate, over the same number of events at every level.

use messaging::broker::NOTIFIER_EVENTS;

use super::drain::{events, subscribe, until_recorded};
use super::publisher::Publisher;
use crate::books::Books;
use crate::events::Maker;
use crate::figures::Figures;
use crate::process_stats::{Family, peak_memory_mib};
use crate::run::Bench;
use crate::services::{Running, Services};

const LAST_LEVEL: usize = 1_000_000;
const MEASURED: usize = 10_000;
/// Few enough to keep the queue and this program small.
const AT_ONCE: usize = 20_000;

struct Growing<'a> {
    bench: &'a Bench<'a>,
    maker: Maker,
    publisher: Publisher,
    notifier: Running,
    books: Books,
    delivered: usize,
}

/// At 10 000, 100 000, … up to the last level.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let services = Services::on_empty_footing(bench).await;
    let notifier = services.notifier("notifier").await;
    subscribe(bench, &notifier, 10).await;
    let publisher = Publisher::connect(&services.footing.broker).await?;
    publisher.declare(NOTIFIER_EVENTS).await?;
    let books = Books::open(&services.footing.notifier_database).await?;
    let maker = Maker::new(bench.seed);
    let mut growing = Growing { bench, maker, publisher, notifier, books, delivered: 0 };
    let mut figures = Figures::default();
    let levels: Vec<usize> = (4..=7)
        .map(|power| 10_usize.pow(power))
        .take_while(|level| *level <= bench.settings.events_or(LAST_LEVEL))
        .collect();
    for level in &levels {
        growing.grow(*level).await?;
        growing.probe(*level, &mut figures).await?;
    }
    if let (Some(first), Some(last)) = (levels.first(), levels.last()) {
        let (first, last) = (figures.get(&cost(*first)), figures.get(&cost(*last)));
        figures.add_ratio("cost, last / first", last, first);
    }
    figures.add("notifier peak memory", "MiB", peak_memory_mib(growing.notifier.id()));
    growing.books.check_deliveries(growing.delivered).await?;
    growing.notifier.stop().await;
    Ok(figures)
}

fn cost(level: usize) -> String {
    format!("cost at {level}")
}

impl Growing<'_> {
    async fn grow(&mut self, level: usize) -> anyhow::Result<()> {
        while self.delivered + MEASURED < level {
            let more = AT_ONCE.min(level - MEASURED - self.delivered);
            self.bench.progress.step(&format!("growing to {level}: {} delivered", self.delivered));
            self.deliver(more).await?;
        }
        Ok(())
    }

    /// Delivers [`MEASURED`] more, measuring.
    async fn probe(&mut self, level: usize, figures: &mut Figures) -> anyhow::Result<()> {
        self.bench.progress.step(&format!("measuring at {level}"));
        let cpu = |this: &Self| {
            let postgres = this.bench.ground.postmaster().map_or(0.0, |first| Family(first).cpu_seconds());
            postgres + Family(this.notifier.id()).cpu_seconds()
        };
        let (before, from) = (cpu(self), crate::clock::now());
        self.deliver(MEASURED).await?;
        figures.add(cost(level), "µs", (cpu(self) - before) * 1e6 / MEASURED as f64);
        figures.add_rate(format!("published and delivered at {level}"), MEASURED, from, crate::clock::now());
        Ok(())
    }

    async fn deliver(&mut self, count: usize) -> anyhow::Result<()> {
        self.bench.receiver.empty();
        self.publisher.publish(&events(&self.maker, count, 10)).await?;
        until_recorded(self.bench, &self.books, count).await?;
        self.delivered += count;
        Ok(())
    }
}
