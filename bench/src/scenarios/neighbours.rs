//! A hundred subscriptions at a steady rate: 96 that answer at once, without and with one that hangs,
//! one that refuses connections, one that answers 500 and one that drips. Each of the 96 has the same
//! load in both. Latency is from the intended publishing of an event to the arrival of its webhook.
//!
//! What else the machine does changes by the minute, so it is measured by turns, and turns that are
//! early and late on both sides: noise that comes, goes or grows falls on both. Told are the middle
//! turn of each side and their ratio.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use e2e::harness::port;
use messaging::Event;
use messaging::broker::NOTIFIER_EVENTS;
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

use super::drain::{events, merchant, subscribe};
use super::publisher::Publisher;
use crate::books::Books;
use crate::clock::Micros;
use crate::cpu::Meter;
use crate::events::Maker;
use crate::figures::Figures;
use crate::load::Pace;
use crate::process_stats::peak_memory_mib;
use crate::receiver::Manner;
use crate::run::Bench;
use crate::services::{Running, Services, Wish};

const GOOD: u16 = 96;
const BAD: u16 = 4;
/// As many events as one round of publishing takes.
const AT_ONCE: usize = 1_000;

/// Whether the four are there, turn by turn.
const TURNS: [bool; 6] = [false, true, true, false, false, true];

/// Without the four, with them, and how the two compare.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let rate = bench.settings.rates.last().copied().context("a rate is needed")?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for four in TURNS {
        if four {
            with.push(steady(bench, "with", GOOD + BAD, rate).await?);
        } else {
            let rate = rate * u32::from(GOOD) / u32::from(GOOD + BAD);
            without.push(steady(bench, "without", GOOD, rate).await?);
        }
    }
    let mut figures = Figures::medians(&without);
    figures.extend(Figures::medians(&with));
    for what in ["p50", "p99", "throughput"] {
        let (with, without) = (figures.get(&format!("with {what}")), figures.get(&format!("without {what}")));
        figures.add_ratio(format!("{what} with / without"), with, without);
    }
    Ok(figures)
}

async fn steady(bench: &Bench<'_>, name: &str, subscriptions: u16, rate: u32) -> anyhow::Result<Figures> {
    let services = Services::on_empty_footing(bench).await;
    let notifier = services.notifier("notifier").await;
    subscribe(bench, &notifier, GOOD).await;
    if subscriptions > GOOD {
        misbehave(bench, &notifier).await;
    }
    let publisher = Publisher::connect(&services.footing.broker).await?;
    publisher.declare(NOTIFIER_EVENTS).await?;
    bench.progress.step(&format!("neighbours: {name}"));
    let maker = Maker::new(bench.seed);
    publish_at(&publisher, events(&maker, rate as usize, subscriptions), rate).await?; // warm-up
    let measured = events(&maker, rate as usize * bench.settings.seconds as usize, subscriptions);
    let mut meter = Meter::start(bench.ground);
    meter.watch("notifier", notifier.id());
    let due = publish_at(&publisher, measured, rate).await?;
    let good = |count: usize| {
        (0..count).filter(|index| index % usize::from(subscriptions) < usize::from(GOOD)).count()
    };
    let expected = good(rate as usize) + good(due.len());
    bench.until("webhooks", expected, async || Ok(bench.receiver.count())).await?;
    let books = Books::open(&services.footing.notifier_database).await?;
    let mut figures = summarise(bench, name, &due)?;
    meter.add_each(&mut figures, name, due.len());
    figures.add(format!("{name}: notifier peak memory"), "MiB", peak_memory_mib(notifier.id()));
    let delivered = "SELECT count(*) FROM notifications WHERE state = 'delivered'";
    bench.until("records", expected, async || Ok(usize::try_from(books.number(delivered).await?)?)).await?;
    Ok(figures)
}

fn summarise(bench: &Bench<'_>, name: &str, due: &HashMap<Uuid, Micros>) -> anyhow::Result<Figures> {
    let tally = bench.receiver.empty();
    ensure!(
        tally.again == 0 && tally.strange == 0,
        "{} webhooks came twice, {} were none",
        tally.again,
        tally.strange
    );
    let measured: Vec<(Micros, Micros)> =
        tally.arrivals.iter().filter_map(|((_, tx_no), at)| Some((*due.get(tx_no)?, *at))).collect();
    let mut figures = Figures::default();
    figures.add_latencies(name, measured.iter().map(|(due, at)| at - due));
    let from = measured.iter().map(|(due, _)| *due).min().unwrap_or_default();
    let to = measured.iter().map(|(_, at)| *at).max().unwrap_or_default();
    figures.add_rate(format!("{name} throughput"), measured.len(), from, to);
    Ok(figures)
}

/// The four, each with a ladder of seconds so that they are as troublesome as can be.
async fn misbehave(bench: &Bench<'_>, notifier: &Running) {
    let refusing = format!("http://{}/refused", port::free());
    let urls =
        [Manner::Hanging, Manner::Failing, Manner::Dripping].map(|manner| bench.receiver.url(0, manner));
    for (number, url) in (GOOD..).zip(urls.into_iter().chain([refusing])) {
        let (name, merchant) = (format!("bad-{number}"), Some(merchant(number)));
        let wish = Wish { name, url, merchant, in_flight: bench.settings.in_flight };
        wish.make_with(&notifier.api, serde_json::json!({ "ladder": vec!["1s"; 20] })).await;
    }
}

/// Publishes `events` at `rate` a second; when each should have been, by `tx_no`.
async fn publish_at(
    publisher: &Publisher,
    events: Vec<Event>,
    rate: u32,
) -> anyhow::Result<HashMap<Uuid, Micros>> {
    let pace = Pace::starting_soon(rate);
    let mut due = HashMap::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        let tx_no = event.subject.as_deref().context("a recharge's event has a subject")?.parse()?;
        due.insert(tx_no, pace.due(index));
    }
    let (turns, mut queue) = unbounded_channel();
    let pacing = std::thread::spawn(move || {
        for (index, event) in events.into_iter().enumerate() {
            pace.wait_for(index);
            if turns.send(event).is_err() {
                return;
            }
        }
    });
    let mut ready = Vec::with_capacity(AT_ONCE);
    while queue.recv_many(&mut ready, AT_ONCE).await > 0 {
        publisher.publish(&ready).await?;
        ready.clear();
    }
    drop(pacing); // It has sent its last.
    Ok(due)
}
