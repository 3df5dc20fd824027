//! The settings of the all-in-one process.

use std::net::SocketAddr;
use std::path::PathBuf;

use account_service::domain::Nightly;
use clap::{Parser, ValueEnum};
use notifier::settings::TargetSettings;
use runtime::SecretKeys;
use runtime::settings::CommonSettings;

/// The machine itself, whose services ring each other; a proxy would take it for its own machine.
const LOOPBACK: &str = "127.0.0.0/8,::1/128";

/// What the process is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Serve all three services until stopped.
    Serve,
    /// Tell the story in under a minute, on throw-away data, and end.
    Demo,
}

/// Ringback: tells every subscriber the result of a payment, and keeps ringing until they answer.
///
/// All three services in one process, on SQLite, with nothing else installed.
#[derive(Debug, Clone, Parser)]
#[command(version)]
#[command(
    after_help = "`ringback keys` adds, rotates, revokes and lists the keys of KEYS_FILE: see `ringback keys --help`."
)]
#[command(mut_arg("allow_private_targets", |arg| arg.default_value(LOOPBACK)))]
#[command(mut_arg("egress_proxy_bypass", |arg| arg.default_value(LOOPBACK)))]
pub struct Settings {
    /// What to do
    #[arg(value_enum, default_value = "serve")]
    pub action: Action,
    /// Where databases and keys are kept; made when missing
    #[arg(long, env = "RINGBACK_DATA_DIR", default_value = "./ringback-data", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Where pay-service listens
    #[arg(long, env = "PAY_LISTEN", default_value = "127.0.0.1:8081")]
    pub pay_listen: SocketAddr,
    /// Where notifier listens
    #[arg(long, env = "NOTIFIER_LISTEN", default_value = "127.0.0.1:8082")]
    pub notifier_listen: SocketAddr,
    /// Where account-service listens
    #[arg(long, env = "ACCOUNT_LISTEN", default_value = "127.0.0.1:8083")]
    pub account_listen: SocketAddr,
    /// The keys that signing secrets are encrypted under: `2026a:BASE64OF32BYTES,2025z:…`; made when none are given
    #[arg(long, env = "SECRET_KEYS", hide_env_values = true, default_value = "", value_name = "KEYS")]
    pub secret_keys: SecretKeys,
    /// Where webhooks may go, and on which way
    #[command(flatten)]
    pub targets: TargetSettings,
    /// How many webhooks may be in flight at once
    #[arg(long, env = "MAX_IN_FLIGHT", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_in_flight: u32,
    /// For how long an endpoint must have failed without one success before its subscription is disabled: `5d`, or `never`
    #[arg(long, env = "DISABLE_AFTER", value_name = "TIME", default_value = "5d")]
    pub disable_after: notifier::domain::DisableAfter,
    /// How long events, notifications and attempts are kept: `90d`; what still waits is kept in any case
    #[arg(long, env = "RETENTION", value_name = "TIME", default_value = "90d")]
    pub retention: notifier::domain::Retention,
    /// When the account-service reconciles the day before with pay-service's statement, every day: a time in UTC from 00:01 to 23:59, or `off`
    #[arg(long, env = "NIGHTLY_RECONCILIATION", default_value = Nightly::DEFAULT, value_name = "TIME")]
    pub nightly_reconciliation: Nightly,
    /// From when on operators are told of a backlog
    #[command(flatten)]
    pub backlog: notifier::settings::BacklogSettings,
    /// What one merchant may have or run at once
    #[command(flatten)]
    pub merchants: notifier::settings::MerchantSettings,
    /// Keys, grace period, log format
    #[command(flatten)]
    pub common: CommonSettings,
}
