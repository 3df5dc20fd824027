//! What is to be measured, on what, how often.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures the real programs on servers of its own, beside yardsticks of the same minute.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "bench", version)]
pub struct Settings {
    /// What to measure
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// What the services stand on
    #[arg(long, value_enum, default_value = "postgres")]
    pub backend: Backend,
    /// How often everything is measured, each time on fresh databases
    #[arg(long, default_value = "3")]
    pub repeats: usize,
    /// What accounts, ids and orders are drawn from
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Events (drain, credit, scale, feed), recharges (flow, closed loop) or the last level (growth)
    #[arg(long)]
    pub events: Option<usize>,
    /// Events before the measured ones [default: a tenth]
    #[arg(long)]
    pub warm_up: Option<usize>,
    /// Connections of the closed loop, and of the webhook intake
    #[arg(long, default_value = "64")]
    pub connections: usize,
    /// Rates of the open loops, events a second
    #[arg(long, value_delimiter = ',', default_value = "200,1000")]
    pub rates: Vec<u32>,
    /// How long each open loop is measured, seconds
    #[arg(long, default_value = "20")]
    pub seconds: u32,
    /// `max_in_flight` of the subscriptions, and of the bare client of the yardstick
    #[arg(long, default_value = "64")]
    pub in_flight: usize,
    /// Waiting notifications (backlog)
    #[arg(long, value_delimiter = ',', default_value = "0,1000000")]
    pub waiting: Vec<usize>,
    /// How many accounts are credited (flow)
    #[arg(long, default_value = "100")]
    pub accounts: usize,
    /// More environment for every service, to try a setting out: `NAME=VALUE`, as often as needed
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = assignment)]
    pub environment: Vec<(String, String)>,
    /// Leave the yardsticks out; ratios are then missing
    #[arg(long)]
    pub no_yardsticks: bool,
    /// Print Postgres' most expensive statements after each measurement
    #[arg(long)]
    pub statements: bool,
    /// Where the report goes as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Recharge by HTTP, webhook, credit: throughput in a closed loop, latency in open loops
    Flow,
    /// A full queue is delivered: to one subscription, then to 100
    Drain,
    /// Results are credited: from the queue on one account and on 10 000, and by webhook
    Credit,
    /// 96 subscriptions beside none and beside four that misbehave, three times each by turns
    Neighbours,
    /// `drain` with one, two and four notifiers
    Scale,
    /// The cost of a notification when more and more are in the tables
    Growth,
    /// `flow` in open loops beside waiting notifications
    Backlog,
    /// Pages of merchants' feeds over a million events
    Feed,
}

/// What the services stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Postgres and `RabbitMQ`
    Postgres,
    /// Files, each service a process
    Sqlite,
    /// Files, one process for all (flow only)
    AllInOne,
}

impl Settings {
    /// `events`, or what the scenario is defined with.
    pub fn events_or(&self, otherwise: usize) -> usize {
        self.events.unwrap_or(otherwise).max(10)
    }

    /// How many of `events` are not measured.
    pub fn warm_up_of(&self, events: usize) -> usize {
        self.warm_up.unwrap_or(events / 10).min(events / 2)
    }
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
