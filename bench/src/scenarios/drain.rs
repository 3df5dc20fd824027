//! A full queue is delivered: to one subscription, and to a hundred, each with events of its own.
//! Measured from the arrival of the first webhook after the warm-up to the commit of the last
//! attempt's record.

use anyhow::ensure;
use messaging::Event;
use messaging::broker::NOTIFIER_EVENTS;

use super::publisher::Publisher;
use crate::books::Books;
use crate::clock::{self, Micros};
use crate::cpu::Meter;
use crate::events::Maker;
use crate::figures::Figures;
use crate::process_stats::peak_memory_mib;
use crate::receiver::Manner;
use crate::run::Bench;
use crate::services::{Running, Services, Wish};
use crate::yardsticks::HTTP_POSTS;

const EVENTS: usize = 100_000;

/// The shape of one drain.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Events in the queue.
    pub events: usize,
    /// Subscriptions, which share the events evenly.
    pub subscriptions: u16,
    /// Notifier processes.
    pub notifiers: usize,
}

/// Both drains.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let events = bench.settings.events_or(EVENTS);
    for (subscriptions, name) in [(1, "1 subscription"), (100, "100 subscriptions")] {
        figures.extend(drain(bench, name, Drain { events, subscriptions, notifiers: 1 }).await?);
    }
    Ok(figures)
}

/// One drain; its rate is called `name`.
pub async fn drain(bench: &Bench<'_>, name: &str, shape: Drain) -> anyhow::Result<Figures> {
    let services = Services::on_empty_footing(bench).await;
    let notifier = services.notifier("preparation").await;
    subscribe(bench, &notifier, shape.subscriptions).await;
    notifier.stop().await;
    fill(bench, &services, shape).await?;
    bench.progress.step(&format!("drain: {name}"));
    let mut meter = Meter::start(bench.ground);
    let mut notifiers = Vec::new();
    for number in 0..shape.notifiers {
        let notifier = services.notifier(&format!("notifier-{number}")).await;
        meter.watch_from_birth("notifier", notifier.id());
        notifiers.push(notifier);
    }
    let books = Books::open(&services.footing.notifier_database).await?;
    let recorded = until_recorded(bench, &books, shape.events).await?;
    let arrivals = arrivals(bench, shape.events)?;
    books.check_deliveries(shape.events).await?;
    let mut figures = Figures::default();
    let warm_up = bench.settings.warm_up_of(shape.events);
    figures.add_rate(name, shape.events - warm_up, arrivals[warm_up], recorded);
    let ratio = format!("{name} / {HTTP_POSTS}");
    figures.add_ratio(ratio, figures.get(name), bench.yardsticks.get(HTTP_POSTS));
    meter.add_each(&mut figures, name, shape.events);
    let memory = notifiers.iter().map(|one| peak_memory_mib(one.id())).fold(0.0, f64::max);
    figures.add(format!("{name}: notifier peak memory"), "MiB", memory);
    for notifier in notifiers {
        notifier.stop().await;
    }
    Ok(figures)
}

/// Subscription number n is for the events of merchant `m<n>`.
pub async fn subscribe(bench: &Bench<'_>, notifier: &Running, subscriptions: u16) {
    for number in 0..subscriptions {
        let wish = Wish {
            name: format!("bench-{number}"),
            url: bench.receiver.url(number, Manner::Good),
            merchant: Some(merchant(number)),
            in_flight: bench.settings.in_flight,
        };
        wish.make(&notifier.api).await;
    }
}

/// The merchant of subscription `number`.
pub fn merchant(number: u16) -> String {
    format!("m{number}")
}

/// `count` events, evenly for the merchants of `subscriptions` subscriptions.
pub fn events(maker: &Maker, count: usize, subscriptions: u16) -> Vec<Event> {
    let numbers = (0..subscriptions).cycle().take(count);
    numbers.map(|number| maker.succeeded(&merchant(number), "6222021001")).collect()
}

async fn fill(bench: &Bench<'_>, services: &Services, shape: Drain) -> anyhow::Result<()> {
    let publisher = Publisher::connect(&services.footing.broker).await?;
    publisher.declare(NOTIFIER_EVENTS).await?;
    publisher.fill(bench, &events(&Maker::new(bench.seed), shape.events, shape.subscriptions)).await
}

/// Waits until `count` webhooks have arrived and their attempts are in the log; when the last was.
pub async fn until_recorded(bench: &Bench<'_>, books: &Books, count: usize) -> anyhow::Result<Micros> {
    bench.until("webhooks", count, async || Ok(bench.receiver.count())).await?;
    bench.until("records", count, async || Ok(count.saturating_sub(books.undelivered().await?))).await?;
    let observed = clock::now();
    Ok(books.last_attempt_committed().await?.unwrap_or(observed))
}

/// When each of `count` webhooks arrived, sorted; an error when one came twice.
fn arrivals(bench: &Bench<'_>, count: usize) -> anyhow::Result<Vec<Micros>> {
    let tally = bench.receiver.empty();
    let (again, strange) = (tally.again, tally.strange);
    ensure!(again == 0 && strange == 0, "{again} webhooks came twice, {strange} were none");
    ensure!(tally.arrivals.len() == count, "{} of {count} webhooks arrived", tally.arrivals.len());
    let mut arrivals: Vec<Micros> = tally.arrivals.into_values().collect();
    arrivals.sort_unstable();
    Ok(arrivals)
}
