//! The services of one measurement, each a release process of its own, with their usual settings.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::harness::{ACCOUNT_KEY, Api, Footing, Kind, OPERATOR_KEY, Process, eventually, port};
use serde_json::{Value, json};

use crate::ground::PATIENCE;
use crate::run::Bench;

/// How long a service may take to end in order.
const ENDING: Duration = Duration::from_secs(45);

/// A running program.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its API, called by the operator over kept-alive connections.
    pub api: Api,
    process: Process,
}

impl Running {
    async fn start(mut process: Process, address: SocketAddr) -> Self {
        process.start();
        let api = Api::new(format!("http://{address}"), OPERATOR_KEY).kept_alive();
        eventually("the service is ready", PATIENCE, async || {
            assert!(process.is_running(), "a service ended by itself:\n{}", process.log());
            api.is_ready().await.then_some(())
        })
        .await;
        Self { address, api, process }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id().expect("it is running")
    }

    /// Ends it in order.
    pub async fn stop(mut self) {
        self.process.terminate();
        self.process.ended(ENDING).await;
    }
}

/// Starts services on one footing.
pub struct Services {
    /// What they stand on. Its folder holds their logs.
    pub footing: Footing,
    environment: Vec<(String, String)>,
}

impl Services {
    /// On an empty footing, with the settings as they come but for what the run changes.
    pub async fn on_empty_footing(bench: &Bench<'_>) -> Self {
        Self::on(bench, bench.footing().await)
    }

    /// The same on `footing`.
    pub fn on(bench: &Bench<'_>, footing: Footing) -> Self {
        Self { footing, environment: bench.settings.environment.clone() }
    }

    /// pay-service.
    pub async fn pay(&self) -> Running {
        let address = port::free();
        let process = self
            .process("pay-service", "pay-service", address)
            .variable("DATABASE_URL", &self.footing.pay_database)
            .variable("BROKER_URL", &self.footing.broker);
        Running::start(process, address).await
    }

    /// A notifier; each needs a name of its own for its log.
    pub async fn notifier(&self, name: &str) -> Running {
        let address = port::free();
        let process = self
            .process("notifier", name, address)
            .variable("DATABASE_URL", &self.footing.notifier_database)
            .variable("BROKER_URL", &self.footing.broker)
            .variable("ALLOW_PRIVATE_TARGETS", "127.0.0.0/8");
        Running::start(process, address).await
    }

    /// account-service at `address`, asking the pay-service at `pay`.
    pub async fn account(&self, address: SocketAddr, pay: &str, intake: &str, secret: &str) -> Running {
        let process = self
            .process("account-service", "account-service", address)
            .variable("DATABASE_URL", &self.footing.account_database)
            .variable("PAY_SERVICE_URL", pay)
            .variable("PAY_SERVICE_KEY", ACCOUNT_KEY)
            .variable("WEBHOOK_SECRET", secret)
            .variable("INTAKE", intake)
            .variable("BROKER_URL", &self.footing.broker);
        Running::start(process, address).await
    }

    fn process(&self, program: &str, name: &str, address: SocketAddr) -> Process {
        assert!(self.footing.kind != Kind::AllInOne, "the all-in-one process is one");
        let process = Process::new(program, name, self.footing.folder.path())
            .variable("LISTEN", address.to_string())
            .variable("RINGBACK_OPERATOR_KEY", OPERATOR_KEY)
            .variable("RINGBACK_MERCHANT_KEYS", format!("account-service={ACCOUNT_KEY}"));
        self.environment.iter().fold(process, |process, (name, value)| process.variable(name, value))
    }
}

/// A subscription as it is asked for.
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Where its webhooks go.
    pub url: String,
    /// Whose events it is for; the operator's own are for all.
    pub merchant: Option<String>,
    /// `max_in_flight`.
    pub in_flight: usize,
}

impl Wish {
    /// Makes it, for every recharge; returns its secret.
    pub async fn make(&self, notifier: &Api) -> String {
        self.make_with(notifier, json!({})).await
    }

    /// The same with more fields.
    pub async fn make_with(&self, notifier: &Api, more: Value) -> String {
        let mut subscription = json!({
            "name": self.name, "url": self.url, "event_types": ["recharge.*"], "max_in_flight": self.in_flight,
        });
        if let Some(merchant) = &self.merchant {
            subscription["merchant"] = Value::from(merchant.as_str());
        }
        let fields = subscription.as_object_mut().expect("it is an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let made = notifier.post("/v1/subscriptions", &subscription).await.expect(201);
        made["secret"].as_str().expect("a secret is shown once").to_owned()
    }
}
