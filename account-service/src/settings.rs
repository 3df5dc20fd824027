//! The settings of the service's own process.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use messaging::Ladder;
use messaging::broker::{BadBrokerUrl, BrokerUrl};
use messaging::webhook::{NotASecret, WebhookSecret};
use runtime::database::{BadDatabaseUrl, DatabaseUrl};
use runtime::duration::HumanDuration;
use runtime::keys::is_merchant_name;
use runtime::settings::{Action, CommonSettings};
use runtime::{Authorities, Secret};
use url::Url;

use crate::SweepPlan;
use crate::domain::Nightly;

/// Accounts, idempotent credits, reconciliation.
#[derive(Debug, Clone, Parser)]
#[command(name = "account-service", version)]
pub struct Settings {
    /// What to do
    #[arg(value_enum, default_value = "serve")]
    pub action: Action,
    /// The address to listen on
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8083")]
    pub listen: SocketAddr,
    /// Where the books are kept: `postgres://…` or `sqlite://FILE`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: DatabaseUrl,
    /// A PEM file with the authorities that may have signed the certificate of the Postgres; its connections are verified (`sslmode=verify-full`) then
    #[arg(long, env = "DATABASE_CA_FILE", value_name = "FILE")]
    pub database_ca_file: Option<Authorities>,
    /// How many connections to Postgres at most
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_max_connections: u32,
    /// Where pay-service is: `http://…` or `https://…`
    #[arg(long, env = "PAY_SERVICE_URL", default_value = "http://127.0.0.1:8081", value_parser = http_url)]
    pub pay_service_url: Url,
    /// This merchant's key at pay-service
    #[arg(long, env = "PAY_SERVICE_KEY", hide_env_values = true, value_parser = runtime::keys::key)]
    pub pay_service_key: Option<Secret>,
    /// How long pay-service may take to answer: 10ms to 20s
    #[arg(long, env = "PAY_SERVICE_TIMEOUT", default_value = "5s", value_parser = timeout)]
    pub pay_service_timeout: HumanDuration,
    /// How results come in
    #[arg(long, env = "INTAKE", value_enum, default_value = "webhook")]
    pub intake: IntakeMode,
    /// The secrets of this service's subscription, separated by commas while they rotate; for INTAKE webhook or both
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true, value_delimiter = ',')]
    pub webhook_secret: Vec<Secret>,
    /// `amqp://…` or `amqps://…` (several, separated by commas, are tried in turn), or `sqlite://FILE`; for INTAKE queue or both
    #[arg(long, env = "BROKER_URL", hide_env_values = true)]
    pub broker_url: Option<BrokerUrl>,
    /// A PEM file with the authorities that may have signed the certificate of an `amqps://` broker; no others count for it then
    #[arg(long, env = "BROKER_CA_FILE", value_name = "FILE")]
    pub broker_ca_file: Option<Authorities>,
    /// How long to wait before each further try at a result of the queue that can't be credited yet: `standard`, `wechatpay`, `alipay`, or 1 to 20 steps of 1s to 24h such as `1m,5m,10m`
    #[arg(long, env = "QUEUE_LADDER", default_value = "standard")]
    pub queue_ladder: Ladder,
    /// How long to wait before each question about a requested recharge that nothing was heard of; the last step repeats: steps of 1s to 24h
    #[arg(long, env = "SWEEP_LADDER", default_value = SweepPlan::LADDER)]
    pub sweep_ladder: Ladder,
    /// How many such questions a second at most, from this process
    #[arg(long, env = "SWEEP_RATE", default_value_t = SweepPlan::RATE, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub sweep_rate: u32,
    /// When the day before is reconciled with pay-service's statement, every day: a time in UTC from 00:01 to 23:59, or `off`
    #[arg(long, env = "NIGHTLY_RECONCILIATION", default_value = Nightly::DEFAULT, value_name = "TIME")]
    pub nightly_reconciliation: Nightly,
    /// The merchant whose recharges are credited here
    #[arg(long, env = "MERCHANT", default_value = "account-service", value_parser = merchant)]
    pub merchant: String,
    /// What every process has
    #[command(flatten)]
    pub common: CommonSettings,
}

/// How results come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IntakeMode {
    /// The notifier rings (scheme 2).
    Webhook,
    /// The queue holds them (scheme 1).
    Queue,
    /// Both; whichever is first credits.
    Both,
}

impl IntakeMode {
    fn webhook(self) -> bool {
        matches!(self, Self::Webhook | Self::Both)
    }

    fn queue(self) -> bool {
        matches!(self, Self::Queue | Self::Both)
    }
}

/// Settings that are missing or wrong together with others.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// A setting that serving needs.
    #[error("{setting} is missing: {why}")]
    Missing {
        /// The setting's name.
        setting: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// The broker's authorities do not fit its address.
    #[error(transparent)]
    Broker(#[from] BadBrokerUrl),
    /// Never shows the secret.
    #[error("WEBHOOK_SECRET: {0}")]
    Secret(#[from] NotASecret),
}

impl Settings {
    /// The database, with the authorities of its server.
    pub fn database(&self) -> Result<DatabaseUrl, BadDatabaseUrl> {
        self.database_url.clone().trusting(self.database_ca_file.clone())
    }

    /// The key for pay-service.
    pub fn pay_service_key(&self) -> Result<&Secret, BadSettings> {
        let why = "pay-service is asked with it";
        self.pay_service_key.as_ref().ok_or(BadSettings::Missing { setting: "PAY_SERVICE_KEY", why })
    }

    /// When and how fast pay-service is asked about requests that nothing was heard of.
    pub fn sweep(&self) -> SweepPlan {
        let (ladder, rate) = (self.sweep_ladder.clone(), self.sweep_rate);
        SweepPlan { ladder, rate, timeout: self.pay_service_timeout.0 }
    }

    /// The webhook's secrets, where the webhook is on.
    pub fn webhook_secrets(&self) -> Result<Option<Vec<WebhookSecret>>, BadSettings> {
        if !self.intake.webhook() {
            return Ok(None);
        }
        let given = self.webhook_secret.iter().map(|secret| secret.expose().trim());
        let secrets: Vec<WebhookSecret> =
            given.filter(|text| !text.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        if secrets.is_empty() {
            let why = "the webhook receiver (INTAKE webhook or both) verifies with it";
            return Err(BadSettings::Missing { setting: "WEBHOOK_SECRET", why });
        }
        Ok(Some(secrets))
    }

    /// The broker, where results come from the queue.
    pub fn queue_broker(&self) -> Result<Option<BrokerUrl>, BadSettings> {
        if !self.intake.queue() {
            return Ok(None);
        }
        let why = "results come from its queue (INTAKE queue or both)";
        let url = self.broker_url.clone().ok_or(BadSettings::Missing { setting: "BROKER_URL", why })?;
        Ok(Some(url.trusting(self.broker_ca_file.clone())?))
    }
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    let wrong = "must be http://… or https://… without user or password";
    let url = Url::parse(text).map_err(|_| wrong)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if matches!(url.scheme(), "http" | "https") && plain { Ok(url) } else { Err(wrong) }
}

fn timeout(text: &str) -> Result<HumanDuration, String> {
    let duration: HumanDuration = text.parse().map_err(|error| format!("{error}"))?;
    if (10..=20_000).contains(&duration.0.as_millis()) {
        return Ok(duration);
    }
    Err("must be 10ms to 20s".to_owned())
}

fn merchant(text: &str) -> Result<String, &'static str> {
    if is_merchant_name(text) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, `-`, `_` or `.`")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use runtime::settings::load;

    use super::*;

    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/samples/account-service.toml");
    const SECRET: &str = "whsec_Y2hhbmdlLW1lLWNoYW5nZS1tZS1jaGFuZ2UtbWU=";

    fn with(flags: &[&str]) -> Result<Settings, clap::Error> {
        let given = ["account-service", "--database-url", "sqlite://x.db"].iter().chain(flags);
        load(given.map(OsString::from).collect())
    }

    #[test]
    fn the_sample_is_complete() {
        let arguments = ["account-service", "--config", SAMPLE].map(OsString::from);
        let settings: Settings = load(arguments.into()).expect("valid");
        assert_eq!(settings.listen.port(), 8083);
        assert_eq!(settings.webhook_secrets().expect("valid").map(|secrets| secrets.len()), Some(1));
        assert_eq!(settings.queue_broker().expect("not needed"), None);
        assert_eq!(settings.queue_ladder, Ladder::default());
        let standard = SweepPlan::standard(settings.pay_service_timeout.0);
        assert_eq!((&settings.sweep_ladder, settings.sweep_rate), (&standard.ladder, standard.rate));
        assert_eq!(settings.nightly_reconciliation.to_string(), Nightly::DEFAULT);
        assert!(settings.pay_service_key().is_ok());
    }

    #[test]
    fn a_rotation_s_secrets_are_separated_by_commas() {
        let settings = with(&["--webhook-secret", &format!("{SECRET},{SECRET}")]).expect("valid");
        assert_eq!(settings.webhook_secrets().expect("valid").map(|secrets| secrets.len()), Some(2));
    }

    #[test]
    fn a_ladder_is_a_preset_or_its_steps() {
        let ladder = |text| with(&["--queue-ladder", text]).expect("valid").queue_ladder;
        assert_eq!(ladder("alipay").steps().len(), 7);
        assert_eq!(ladder("1s,2s,1m").steps().len(), 3);
    }

    #[test]
    fn what_the_intake_needs_is_named_when_it_is_missing() {
        for (intake, named) in
            [("webhook", "WEBHOOK_SECRET"), ("both", "WEBHOOK_SECRET"), ("queue", "BROKER_URL")]
        {
            let settings = with(&["--intake", intake]).expect("valid by themselves");
            let missing =
                settings.webhook_secrets().map(drop).and_then(|()| settings.queue_broker().map(drop));
            assert!(missing.expect_err(intake).to_string().contains(named), "{intake}");
        }
        let missing = with(&[]).expect("valid").pay_service_key().expect_err("missing").to_string();
        assert!(missing.contains("PAY_SERVICE_KEY"), "{missing}");
    }

    #[test]
    fn a_bad_value_names_its_setting() {
        for (flag, value) in [
            ("--intake", "pigeon"),
            ("--pay-service-url", "ftp://pay"),
            ("--pay-service-url", "http://user:hush@pay"),
            ("--pay-service-timeout", "1h"),
            ("--database-url", "mysql://x"),
            ("--database-max-connections", "0"),
            ("--broker-url", "kafka://x"),
            ("--queue-ladder", "1ms"),
            ("--queue-ladder", "soon"),
            ("--sweep-ladder", "25h"),
            ("--sweep-ladder", ""),
            ("--sweep-rate", "0"),
            ("--nightly-reconciliation", "00:00"),
            ("--nightly-reconciliation", "at night"),
            ("--merchant", "two words"),
        ] {
            let message = load::<Settings>(["account-service", flag, value].map(OsString::from).into());
            let message = message.expect_err(value).to_string();
            assert!(message.contains(flag), "{flag} {value}: {message}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = with(&["--pay-service-key", "hush", "--webhook-secret", "whsec_hush"]).expect("valid");
        let printed = format!("{settings:?} {}", settings.webhook_secrets().expect_err("no secret"));
        assert!(!printed.contains("hush"), "{printed}");
    }
}
