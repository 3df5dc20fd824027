//! What is told about a run: a table for people, JSON for programs.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::figures::{Figures, median};
use crate::machine::Machine;
use crate::settings::Settings;
use crate::targets;

/// One repeat: the yardsticks of its minute, and what was measured beside them.
#[derive(Debug, Clone, Serialize)]
pub struct Repeat {
    /// What the machine itself could do.
    pub yardsticks: Figures,
    /// What was measured.
    pub figures: Figures,
}

/// A whole run. There is one only when nothing was lost, doubled or credited twice.
#[derive(Debug, Serialize)]
pub struct Report {
    settings: Settings,
    machine: Machine,
    repeats: Vec<Repeat>,
    summary: Vec<Summary>,
}

/// A number over all repeats.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What it is.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Whether it is a yardstick.
    pub yardstick: bool,
    /// What must be reached, and whether it was.
    pub target: Option<(String, bool)>,
}

impl Report {
    /// Sums `repeats` up.
    pub fn new(settings: &Settings, machine: Machine, repeats: Vec<Repeat>) -> Self {
        let yardsticks: Vec<&Figures> = repeats.iter().map(|repeat| &repeat.yardsticks).collect();
        let figures: Vec<&Figures> = repeats.iter().map(|repeat| &repeat.figures).collect();
        let mut summary = summarise(&yardsticks, true);
        summary.extend(summarise(&figures, false));
        for line in &mut summary {
            line.target = targets::judge(settings, &line.name, line.median);
        }
        Self { settings: settings.clone(), machine, repeats, summary }
    }

    /// Prints the table, and writes the JSON where it is asked for.
    pub fn publish(&self, json: Option<&Path>) -> anyhow::Result<()> {
        std::io::stdout().lock().write_all(self.table().as_bytes()).context("the table can't be printed")?;
        if let Some(file) = json {
            let text = serde_json::to_vec_pretty(self).context("a report is JSON")?;
            std::fs::write(file, text).with_context(|| format!("{} can't be written", file.display()))?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let widest = self.summary.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        let mut lines = vec![format!(
            "{:widest$}  {:>12}  {:>25}  unit",
            format!("{:?}, {:?}", self.settings.scenario, self.settings.backend),
            "median",
            "least … most",
        )];
        for line in &self.summary {
            let name = if line.yardstick { format!("{} *", line.name) } else { line.name.clone() };
            let spread = format!("{} … {}", shown(line.least), shown(line.most));
            let target = line.target.as_ref().map_or(String::new(), |(target, reached)| {
                format!("   {target}: {}", if *reached { "reached" } else { "NOT reached" })
            });
            let median = shown(line.median);
            lines.push(format!("{name:widest$}  {median:>12}  {spread:>25}  {}{target}", line.unit));
        }
        lines.push("* yardsticks: what this machine did in the same minutes without us\n".into());
        lines.join("\n")
    }
}

fn summarise(repeats: &[&Figures], yardstick: bool) -> Vec<Summary> {
    let Some(first) = repeats.first() else { return Vec::new() };
    first
        .0
        .iter()
        .map(|figure| {
            let mut values: Vec<f64> = repeats.iter().filter_map(|repeat| repeat.get(&figure.name)).collect();
            values.sort_by(f64::total_cmp);
            Summary {
                name: figure.name.clone(),
                unit: figure.unit,
                median: median(&values),
                least: values.first().copied().unwrap_or(f64::NAN),
                most: values.last().copied().unwrap_or(f64::NAN),
                yardstick,
                target: None,
            }
        })
        .collect()
}

fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
