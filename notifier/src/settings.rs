//! The settings of the `notifier` program.

mod backlog;
mod merchants;
mod targets;

use clap::Parser;
use messaging::BrokerUrl;
use messaging::broker::BadBrokerUrl;
use runtime::database::{BadDatabaseUrl, DatabaseUrl};
use runtime::settings::{Action, CommonSettings, ListenSettings};
use runtime::{Authorities, SecretKeys};

use crate::domain::{DisableAfter, Retention};

pub use backlog::BacklogSettings;
pub use merchants::MerchantSettings;
pub use targets::{Networks, TargetSettings};

/// Tells subscribers by signed webhook what happened, and keeps ringing until they answer.
#[derive(Debug, Clone, Parser)]
#[command(name = "notifier", version, mut_arg("listen", |arg| arg.required(false).default_value("127.0.0.1:8082")))]
pub struct Settings {
    /// What to do
    #[arg(value_enum, default_value = "serve")]
    pub action: Action,
    /// Where to listen.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// `postgres://…` or `sqlite://FILE`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: DatabaseUrl,
    /// A PEM file with the authorities that may have signed the certificate of the Postgres; its connections are verified (`sslmode=verify-full`) then
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    pub database_ca_file: Option<Authorities>,
    /// How many connections to a Postgres are held at most
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_max_connections: u32,
    /// The keys that signing secrets are encrypted under: `2026a:BASE64OF32BYTES,2025z:…`; the first encrypts, all decrypt
    #[arg(long, env = "SECRET_KEYS", hide_env_values = true, default_value = "", value_name = "KEYS")]
    pub secret_keys: SecretKeys,
    /// `amqp://…` or `amqps://…` (several, separated by commas, are tried in turn), or `sqlite://FILE`
    #[arg(long, env = "BROKER_URL", hide_env_values = true, value_name = "URL")]
    pub broker_url: BrokerUrl,
    /// A PEM file with the authorities that may have signed the certificate of an `amqps://` broker; no others count for it then
    #[arg(long, env = "BROKER_CA_FILE", value_name = "FILE")]
    pub broker_ca_file: Option<Authorities>,
    /// Where webhooks may go, and on which way.
    #[command(flatten)]
    pub targets: TargetSettings,
    /// How many attempts may be under way at once in this process
    #[arg(long, env = "MAX_IN_FLIGHT", value_name = "NUMBER", default_value = "256")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_in_flight: u32,
    /// For how long an endpoint must have failed without one success before its subscription is disabled: `5d`, or `never`
    #[arg(long, env = "DISABLE_AFTER", value_name = "TIME", default_value = "5d")]
    pub disable_after: DisableAfter,
    /// How long events, notifications and attempts are kept: `90d`; what still waits is kept in any case
    #[arg(long, env = "RETENTION", value_name = "TIME", default_value = "90d")]
    pub retention: Retention,
    /// From when on operators are told of a backlog.
    #[command(flatten)]
    pub backlog: BacklogSettings,
    /// What one merchant may have or run at once.
    #[command(flatten)]
    pub merchants: MerchantSettings,
    /// The settings that every service has.
    #[command(flatten)]
    pub common: CommonSettings,
}

impl Settings {
    /// The broker, with the authorities of its server.
    pub fn broker(&self) -> Result<BrokerUrl, BadBrokerUrl> {
        self.broker_url.clone().trusting(self.broker_ca_file.clone())
    }

    /// The database, with the authorities of its server.
    pub fn database(&self) -> Result<DatabaseUrl, BadDatabaseUrl> {
        self.database_url.clone().trusting(self.database_ca_file.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn load(arguments: &[&str]) -> Result<Settings, String> {
        let arguments: Vec<OsString> =
            [&["notifier"], arguments].concat().iter().map(OsString::from).collect();
        runtime::settings::load(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_sample_configuration_is_valid_and_says_the_defaults() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples/notifier.toml");
        let settings = load(&["--config", sample]).expect("the sample");
        let plain = load(&["--database-url", "sqlite://n.db", "--broker-url", "sqlite://broker.db"]);
        let plain = plain.expect("the required settings are enough");
        assert_eq!(settings.listen.listen, plain.listen.listen);
        assert_eq!(settings.database_max_connections, plain.database_max_connections);
        assert_eq!(settings.max_in_flight, plain.max_in_flight);
        assert_eq!(settings.targets, plain.targets);
        assert_eq!(settings.disable_after, plain.disable_after);
        assert_eq!(settings.retention, plain.retention);
        assert_eq!(settings.backlog, plain.backlog);
        assert_eq!(settings.merchants, plain.merchants);
        assert_eq!(plain.merchants.limits(), crate::domain::MerchantLimits::default());
        assert_eq!(settings.common.grace_period, plain.common.grace_period);
    }

    #[test]
    fn a_wrong_setting_is_named_and_no_secret_is_shown() {
        let urls = ["--database-url", "postgres://n:hush@db/n", "--broker-url", "amqp://n:hush@queue/%2f"];
        for (flag, value) in [
            ("--allow-private-targets", "10.0.0.0/33"),
            ("--allow-http-targets", "perhaps"),
            ("--egress-proxy", "socks5://proxy:1080"),
            ("--egress-proxy", "http://user:hush@:1"),
            ("--egress-proxy-bypass", "localhost"),
            ("--max-in-flight", "0"),
            ("--database-max-connections", "many"),
            ("--disable-after", "30s"),
            ("--retention", "12h"),
            ("--max-subscriptions-per-merchant", "0"),
            ("--max-bulk-actions-per-merchant", "0"),
            ("--max-tests-per-merchant", "101"),
            ("--secret-keys", "2026a:hush"),
        ] {
            let error = load(&[&urls[..], &[flag, value]].concat()).expect_err(flag);
            assert!(error.contains(flag) && !error.contains("hush"), "{error}");
        }
        let key = "2026a:aHVzaGh1c2hodXNoaHVzaGh1c2hodXNoaHVzaGh1c2g=";
        let proxy = ["--egress-proxy", "http://ringback:hush@proxy:3128", "--allow-http-targets", "true"];
        let more = ["--allow-private-targets", "10.0.0.0/8, ::1/128", "--secret-keys", key];
        let settings = load(&[&urls[..], &proxy, &more].concat()).expect("valid");
        assert_eq!(settings.targets.allow_private_targets.0.len(), 2);
        assert!(settings.targets.allow_http_targets);
        let printed = format!("{settings:?}");
        assert!(!printed.contains("hush") && !printed.contains("aHVz"), "{printed}");
    }
}
