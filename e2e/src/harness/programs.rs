//! How each program is started: its arguments and its environment, as an operator would write them.

use std::net::SocketAddr;

use super::stack::{Options, Stack};
use super::{ACCOUNT_KEY, Kind, Process, SECRET_KEYS};

/// The receivers of the tests listen on this machine.
const LOOPBACK: &str = "127.0.0.0/8";
const GRACE_PERIOD: &str = "15s";

impl Stack {
    pub(super) fn pay_service(&self) -> Process {
        self.service("pay-service", "pay-service", self.addresses.pay)
            .variable("DATABASE_URL", &self.footing.pay_database)
            .variable("BROKER_URL", &self.footing.broker)
            .variable("SANDBOX_CHANNEL_SECRET", &self.sandbox_secret)
    }

    /// On `SQLite` it makes the key of its secrets by itself.
    pub(super) fn notifier(&self, name: &str, address: SocketAddr) -> Process {
        let process = self
            .service("notifier", name, address)
            .variable("DATABASE_URL", &self.footing.notifier_database)
            .variable("BROKER_URL", &self.footing.broker)
            .variable("ALLOW_PRIVATE_TARGETS", LOOPBACK);
        match self.footing.kind {
            Kind::Postgres => process.variable("SECRET_KEYS", SECRET_KEYS),
            Kind::Sqlite | Kind::AllInOne => process,
        }
    }

    /// Without a broker where it takes its results by webhook alone.
    pub(super) fn account_service(&self, options: Options, webhook_secret: &str) -> Process {
        let process = self
            .service("account-service", "account-service", self.addresses.account)
            .variable("DATABASE_URL", &self.footing.account_database)
            .variable("PAY_SERVICE_URL", self.pay.base())
            .variable("PAY_SERVICE_KEY", ACCOUNT_KEY)
            .variable("WEBHOOK_SECRET", webhook_secret)
            .variable("INTAKE", options.intake)
            .variable("QUEUE_LADDER", options.queue_ladder);
        match options.intake {
            "webhook" => process,
            _ => process.variable("BROKER_URL", &self.footing.broker),
        }
    }

    pub(super) fn all_in_one(&self) -> Process {
        let folder = self.footing.folder.path();
        let listen = [
            ("--pay-listen", self.addresses.pay),
            ("--notifier-listen", self.addresses.notifier),
            ("--account-listen", self.addresses.account),
        ];
        let process = Process::new("ringback", "ringback", folder)
            .argument("--data-dir")
            .argument(folder.join("data").display().to_string())
            .variable("GRACE_PERIOD", GRACE_PERIOD);
        let process = listen
            .iter()
            .fold(process, |process, (flag, address)| process.argument(*flag).argument(address.to_string()));
        Self::with_keys(process)
    }

    fn service(&self, program: &str, name: &str, address: SocketAddr) -> Process {
        let process = Process::new(program, name, self.footing.folder.path())
            .variable("LISTEN", address.to_string())
            .variable("GRACE_PERIOD", GRACE_PERIOD);
        Self::with_keys(process)
    }

    /// The all-in-one process makes its own secret and keeps it beside its keys.
    pub(super) fn kept_sandbox_secret(&self) -> String {
        let file = self.footing.folder.path().join("data/keys.toml");
        let text = std::fs::read_to_string(file).expect("the all-in-one process keeps its keys");
        let line = text.lines().find_map(|line| line.strip_prefix("sandbox_channel_secret = "));
        line.expect("the sandbox's secret is kept").trim_matches('"').to_owned()
    }
}
