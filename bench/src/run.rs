//! A run: the yardsticks and the scenario, as often as asked.

use std::time::Duration;

use anyhow::{Context, bail};
use e2e::harness::Footing;
use tokio::time::Instant;

use crate::figures::Figures;
use crate::ground::{Ground, PATIENCE};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::receiver::Receiver;
use crate::report::{Repeat, Report};
use crate::settings::Settings;
use crate::{scenarios, statements, yardsticks};

/// How often a count is looked at.
const POLL: Duration = Duration::from_millis(25);

/// What every scenario works with.
pub struct Bench<'a> {
    /// What is to be measured.
    pub settings: &'a Settings,
    /// What it stands on.
    pub ground: &'a Ground,
    /// Where webhooks go.
    pub receiver: &'a Receiver,
    /// What is being done.
    pub progress: &'a Progress,
    /// What this repeat's events are drawn from.
    pub seed: u64,
    /// What the machine did just before.
    pub yardsticks: Figures,
}

/// Measures. A loss, a doubling or a second credit is an error, and then there is no report.
pub async fn run(settings: &Settings) -> anyhow::Result<Report> {
    let (progress, mut machine) = (Progress::new(), Machine::look());
    progress.step("starting servers");
    let ground = Ground::prepare(settings.backend, &mut machine).await?;
    if settings.statements {
        statements::count_planning(&ground).await?;
    }
    let receiver = Receiver::start()?;
    let mut repeats = Vec::with_capacity(settings.repeats);
    for number in 0..settings.repeats {
        progress.step(&format!("repeat {} of {}: yardsticks", number + 1, settings.repeats));
        let yardsticks = if settings.no_yardsticks {
            Figures::default()
        } else {
            yardsticks::measure(&ground.footing().await, &receiver, settings.in_flight).await?
        };
        let seed = settings.seed.wrapping_add(number as u64);
        let bench =
            Bench { settings, ground: &ground, receiver: &receiver, progress: &progress, seed, yardsticks };
        statements::forget(&ground).await?;
        let figures = scenarios::measure(&bench).await.context("no figure: the run is not sound")?;
        progress.clear();
        if settings.statements {
            statements::print(&ground).await?;
        }
        repeats.push(Repeat { yardsticks: bench.yardsticks, figures });
    }
    Ok(Report::new(settings, machine, repeats))
}

impl Bench<'_> {
    /// Empty databases and an empty broker, and a receiver that has seen nothing.
    pub async fn footing(&self) -> Footing {
        self.receiver.empty();
        self.ground.footing().await
    }

    /// Waits until `probe` counts `goal`. Gives up when it counts more, or no longer moves.
    pub async fn until(
        &self,
        what: &str,
        goal: usize,
        mut probe: impl AsyncFnMut() -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        let (mut before, mut moved) = (0, Instant::now());
        loop {
            let count = probe().await?;
            if count == goal {
                return Ok(());
            }
            if count > goal {
                bail!("{what}: {count} where {goal} are right");
            }
            if count != before {
                (before, moved) = (count, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                bail!("{what}: stuck at {count} of {goal}");
            }
            self.progress.at(count, goal);
            tokio::time::sleep(POLL).await;
        }
    }
}
