//! From when on operators are told of a backlog.

use chrono::TimeDelta;
use clap::Args;
use runtime::duration::HumanDuration;

use crate::domain::backlog::{Extent, Limits};

/// From when on operators are told, by the event `ringback.backlog.growing`, of a backlog that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct BacklogSettings {
    /// Operators are told of a subscription for which so many notifications wait, and more and more
    #[arg(long, env = "BACKLOG_ALERT_WAITING", value_name = "NUMBER", default_value = "10000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog_alert_waiting: u64,
    /// Or the oldest of which has waited for so long
    #[arg(long, env = "BACKLOG_ALERT_AGE", value_name = "TIME", default_value = "1h")]
    pub backlog_alert_age: HumanDuration,
    /// Operators are told when so many notifications wait for all subscriptions together, and more and more
    #[arg(long, env = "BACKLOG_ALERT_TOTAL", value_name = "NUMBER", default_value = "100000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog_alert_total: u64,
}

impl BacklogSettings {
    /// The limits they stand for.
    pub fn limits(&self) -> Limits {
        let age = TimeDelta::from_std(self.backlog_alert_age.0).unwrap_or(TimeDelta::MAX);
        Limits { each: Extent { waiting: self.backlog_alert_waiting, age }, total: self.backlog_alert_total }
    }
}
