//! The settings of the `pay-service` program.

use clap::Parser;
use messaging::BrokerUrl;
use messaging::broker::BadBrokerUrl;
use messaging::webhook::WebhookSecret;
use runtime::Authorities;
use runtime::database::{BadDatabaseUrl, DatabaseUrl};
use runtime::settings::{Action, CommonSettings, ListenSettings};

/// Takes recharges, settles them, publishes their results and answers for them.
#[derive(Debug, Clone, Parser)]
#[command(name = "pay-service", version, mut_arg("listen", |arg| arg.required(false).default_value("127.0.0.1:8081")))]
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
    /// `amqp://…` or `amqps://…` (several, separated by commas, are tried in turn), or `sqlite://FILE`
    #[arg(long, env = "BROKER_URL", hide_env_values = true, value_name = "URL")]
    pub broker_url: BrokerUrl,
    /// A PEM file with the authorities that may have signed the certificate of an `amqps://` broker; no others count for it then
    #[arg(long, env = "BROKER_CA_FILE", value_name = "FILE")]
    pub broker_ca_file: Option<Authorities>,
    /// What the sandbox channel signs its callbacks with; without it they are not taken
    #[arg(long, env = "SANDBOX_CHANNEL_SECRET", hide_env_values = true, value_name = "whsec_…")]
    pub sandbox_channel_secret: Option<WebhookSecret>,
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
            [&["pay-service"], arguments].concat().iter().map(OsString::from).collect();
        runtime::settings::load(arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn the_sample_configuration_is_valid_and_says_the_defaults() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples/pay-service.toml");
        let settings = load(&["--config", sample]).expect("the sample");
        let plain = load(&["--database-url", "sqlite://pay.db", "--broker-url", "sqlite://broker.db"]);
        let plain = plain.expect("the required settings are enough");
        assert_eq!(settings.listen.listen, plain.listen.listen);
        assert_eq!(settings.database_max_connections, plain.database_max_connections);
        assert_eq!(settings.common.grace_period, plain.common.grace_period);
        assert!(settings.sandbox_channel_secret.is_some());
    }

    #[test]
    fn a_wrong_setting_is_named_and_no_secret_is_shown() {
        for (arguments, named) in [
            (&["--database-url", "mysql://u:hush@h/d", "--broker-url", "sqlite://b"], "--database-url"),
            (&["--database-url", "sqlite://p", "--broker-url", "kafka://hush"], "--broker-url"),
        ] {
            assert!(load(arguments).expect_err(named).contains(named));
        }
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let settings = load(&[
            "--database-url",
            "postgres://pay:hush@db/pay",
            "--broker-url",
            "amqp://pay:hush@queue/%2f",
            "--sandbox-channel-secret",
            secret,
        ]);
        let printed = format!("{:?}", settings.expect("valid"));
        assert!(!printed.contains("hush") && !printed.contains("MfKQ"), "{printed}");
    }
}
