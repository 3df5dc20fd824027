//! Recharge by HTTP, signed webhook, credit.
//!
//! Closed loop: account-service is the only subscriber; a rate is the number of recharges over the
//! time from the first request to the commit of the last credit.
//!
//! Open loops: this program subscribes beside account-service, so that the arrival of webhooks is
//! seen. Latencies count from the intended send time of the recharge (`to answer`, `to webhook`),
//! or from its commit with the lateness of its sending added (`commit to …`), so that what had to
//! wait is not hidden. Postgres tells the times of commits itself; on `SQLite` the commit of a
//! recharge is its `settled_at`, which is before it (figures come out too long), and that of a
//! credit its `credited_at`, which is before it too (figures come out too short).

use std::collections::HashMap;

use anyhow::{Context, ensure};
use uuid::Uuid;

use super::system::System;
use crate::clock::{self, Micros};
use crate::cpu::Meter;
use crate::events::tx_no;
use crate::figures::Figures;
use crate::load::{Answered, Target};
use crate::process_stats::{memory_mib, peak_memory_mib};
use crate::receiver::Manner;
use crate::run::Bench;
use crate::services::Wish;

const RECHARGES: usize = 30_000;
/// Connections of an open loop: enough that none is waited for in health.
const OPEN_CONNECTIONS: usize = 64;

/// The closed loop, then the open ones.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let system = System::start(bench).await?;
    let mut figures = Figures::default();
    if let Some(start) = system.start_ms {
        figures.add("start", "ms", start);
        figures.add("resident idle", "MiB", memory_mib(system.notifier_process));
    }
    let mut flow = Flow { bench, system: &system, recharges: 0, told: 0 };
    figures.extend(flow.closed_loop().await?);
    flow.subscribe().await;
    for rate in &bench.settings.rates {
        figures.extend(flow.open_loop(*rate, &format!("{rate}/s")).await?);
    }
    flow.check().await?;
    figures.add("notifier peak memory", "MiB", peak_memory_mib(system.notifier_process));
    Ok(figures)
}

/// A system under load, and how much it should have done.
pub struct Flow<'a> {
    /// What it is measured with.
    pub bench: &'a Bench<'a>,
    /// What is measured.
    pub system: &'a System,
    /// Recharges made so far.
    pub recharges: usize,
    /// Those that this program was told of.
    pub told: usize,
}

impl Flow<'_> {
    async fn closed_loop(&mut self) -> anyhow::Result<Figures> {
        let count = self.bench.settings.events_or(RECHARGES);
        let target = Target { address: self.system.pay, connections: self.bench.settings.connections };
        self.bench.progress.step("flow: warm-up");
        target.closed_loop(self.system.recharges(self.bench.settings.warm_up_of(count))).await?;
        self.recharges += self.bench.settings.warm_up_of(count);
        self.until_credited().await?;
        self.bench.progress.step("flow: closed loop");
        let mut meter = Meter::start(self.bench.ground);
        for (name, process) in self.system.processes() {
            meter.watch(name, process);
        }
        let answered = target.closed_loop(self.system.recharges(count)).await?;
        self.recharges += count;
        self.until_credited().await?;
        let observed = clock::now();
        let credited = match self.system.account_books.postgres() {
            Some(_) => self.system.account_books.credits_committed().await?.into_values().max(),
            None => None,
        };
        let from = answered.iter().map(|one| one.sent).min().unwrap_or_default();
        let accepted = answered.iter().map(|one| one.ended).max().unwrap_or_default();
        let mut figures = Figures::default();
        figures.add_rate("closed loop", count, from, credited.unwrap_or(observed));
        figures.add_rate("closed loop, recharges answered", count, from, accepted);
        meter.add_each(&mut figures, "closed loop", count);
        Ok(figures)
    }

    /// This program subscribes to the same events.
    pub async fn subscribe(&self) {
        let wish = Wish {
            name: "bench".into(),
            url: self.bench.receiver.url(0, Manner::Good),
            merchant: None,
            in_flight: self.bench.settings.in_flight,
        };
        wish.make(&self.system.notifier).await;
    }

    /// One open loop at `rate` a second; its latencies are called after `name`.
    pub async fn open_loop(&mut self, rate: u32, name: &str) -> anyhow::Result<Figures> {
        let target = Target { address: self.system.pay, connections: OPEN_CONNECTIONS };
        self.bench.progress.step(&format!("flow: open loop, {name}, warm-up"));
        // A second in which connections and caches get warm.
        self.loop_once(target, rate, rate as usize).await?;
        self.bench.progress.step(&format!("flow: open loop, {name}"));
        let answered =
            self.loop_once(target, rate, rate as usize * self.bench.settings.seconds as usize).await?;
        self.latencies(name, &answered).await
    }

    async fn loop_once(&mut self, target: Target, rate: u32, count: usize) -> anyhow::Result<Vec<Answered>> {
        let answered = target.open_loop(self.system.recharges(count), rate).await?;
        self.recharges += count;
        self.told += count;
        self.bench.until("webhooks", self.told, async || Ok(self.bench.receiver.count())).await?;
        self.until_credited().await?;
        Ok(answered)
    }

    async fn latencies(&self, name: &str, answered: &[Answered]) -> anyhow::Result<Figures> {
        let committed = self.system.pay_books.recharges_committed().await?;
        let credited = self.system.account_books.credits_committed().await?;
        let webhooks: HashMap<Uuid, Micros> =
            self.bench.receiver.tally().arrivals.iter().map(|((_, tx_no), at)| (*tx_no, *at)).collect();
        let mut kinds: [(&str, Vec<Micros>); 5] = [
            ("to answer", Vec::new()),
            ("to webhook", Vec::new()),
            ("to credit", Vec::new()),
            ("commit to webhook", Vec::new()),
            ("commit to credit", Vec::new()),
        ];
        for one in answered {
            let tx_no = tx_no(&one.body).context("an answer has a tx_no")?;
            let at = |times: &HashMap<Uuid, Micros>| times.get(&tx_no).copied().context("it was told");
            let (commit, webhook, credit) = (at(&committed)?, at(&webhooks)?, at(&credited)?);
            let late = one.sent - one.intended;
            let all = [
                one.ended - one.intended,
                webhook - one.intended,
                credit - one.intended,
                webhook - commit + late,
                credit - commit + late,
            ];
            kinds.iter_mut().zip(all).for_each(|((_, latencies), one)| latencies.push(one));
        }
        let mut figures = Figures::default();
        for (kind, latencies) in kinds {
            figures.add_latencies(&format!("{name} {kind}"), latencies);
        }
        Ok(figures)
    }

    async fn until_credited(&self) -> anyhow::Result<()> {
        let books = &self.system.account_books;
        self.bench.until("credits", self.recharges, async || books.balances().await).await
    }

    /// Everything is credited once, told once, and logged as delivered.
    pub async fn check(&self) -> anyhow::Result<()> {
        self.system.account_books.check_credits(self.recharges).await?;
        let deliveries = self.recharges + self.told;
        let undelivered = async || Ok(deliveries - self.system.notifier_books.undelivered().await?);
        self.bench.until("records", deliveries, undelivered).await?;
        self.system.notifier_books.check_deliveries(deliveries).await?;
        let tally = self.bench.receiver.empty();
        let (again, strange) = (tally.again, tally.strange);
        ensure!(again == 0 && strange == 0, "{again} webhooks came twice, {strange} were none");
        Ok(())
    }
}
