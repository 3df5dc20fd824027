//! The three services in one process, each with a database of its own, on one `SQLite` broker.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use account_service::pay_service::HttpPayService;
use anyhow::Context;
use messaging::Broker;
use messaging::broker::BrokerUrl;
use messaging::webhook::WebhookSecret;
use runtime::database::DatabaseUrl;
use runtime::descriptors::affordable;
use runtime::keys::Keyring;
use runtime::settings::CommonSettings;
use runtime::trace::{Posting, Spans, TraceSettings};
use runtime::{Secret, SharedClock, Shutdown, Sources};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::data_directory::DataDirectory;
use crate::keys::{ACCOUNT_MERCHANT, Keys, MERCHANTS_FILE};
use crate::provision::subscribe_account_service;
use crate::settings::Settings;

/// How long the account-service waits for pay-service's answer; both are in this process.
const PAY_SERVICE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the services listen.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// pay-service.
    pub pay: SocketAddr,
    /// notifier.
    pub notifier: SocketAddr,
    /// account-service.
    pub account: SocketAddr,
}

/// The running services.
pub struct Process {
    /// Where they listen.
    pub addresses: Addresses,
    /// The keys they take.
    pub keys: Keys,
    services: JoinSet<anyhow::Result<()>>,
    shutdown: Shutdown,
    postings: Vec<Posting>,
    /// Locked until the services have ended.
    folder: DataDirectory,
}

struct Listeners {
    pay: TcpListener,
    notifier: TcpListener,
    account: TcpListener,
}

/// What the services share while they are put together.
struct Ground<'a> {
    folder: &'a Path,
    sources: Sources,
    broker: Arc<dyn Broker>,
    /// The keys of all three.
    keyring: Keyring,
    trace: &'a TraceSettings,
    postings: Vec<Posting>,
}

impl Process {
    /// Opens the data directory and starts all three services; they run until `shutdown`.
    pub async fn start(settings: &Settings, sources: Sources, shutdown: Shutdown) -> anyhow::Result<Self> {
        let data_directory = DataDirectory::open(&settings.data_dir)?;
        let listeners = Listeners::bind(settings).await?;
        let addresses = listeners.addresses()?;
        let folder = data_directory.path();
        let mut keys = Keys::open(folder, &settings.common, &*sources.entropy)?;
        let keyring = keyring(&keys, &settings.common, folder, sources.clock.clone())?;
        let broker = BrokerUrl::Sqlite(folder.join("broker.db"));
        let broker = messaging::broker::open(&broker, "ringback", &sources).await?;
        let trace = &settings.common.trace;
        let mut ground = Ground { folder, sources, broker, keyring, trace, postings: Vec::new() };

        let mut services = JoinSet::new();
        services.spawn(pay_service::run(listeners.pay, ground.pay(&keys).await?, shutdown.clone()));
        let notifier = ground.notifier(settings).await?;
        services.spawn(notifier::run(listeners.notifier, notifier, shutdown.clone()));
        let url = format!("{}/v1/notifications", http(addresses.account));
        let client = Client::new(http(addresses.notifier), &keys.operator)?;
        let secret = subscribe_account_service(&client, &url, &mut keys)
            .await
            .context("can't subscribe the account-service")?;
        let account = ground.account(&keys, settings, &secret, addresses.pay).await?;
        services.spawn(account_service::run(listeners.account, account, shutdown.clone()));
        let postings = ground.postings;
        Ok(Self { addresses, keys, services, shutdown, postings, folder: data_directory })
    }

    /// Runs until all three have ended. When one ends by itself, the others are stopped.
    pub async fn join(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.services.join_next().await {
            self.shutdown.stop_softly();
            outcome = outcome.and(ended.context("a service panicked").flatten());
        }
        for posting in self.postings {
            posting.finish().await;
        }
        outcome
    }

    /// Where databases and keys are kept.
    pub fn data_directory(&self) -> &Path {
        self.folder.path()
    }

    /// A client of the account-service with the operator's key.
    pub fn account_client(&self) -> anyhow::Result<Client> {
        Client::new(http(self.addresses.account), &self.keys.operator)
    }

    /// A client of the notifier with the operator's key.
    pub fn notifier_client(&self) -> anyhow::Result<Client> {
        Client::new(http(self.addresses.notifier), &self.keys.operator)
    }
}

impl Ground<'_> {
    fn database(&self, name: &str) -> DatabaseUrl {
        DatabaseUrl::Sqlite(self.folder.join(name))
    }

    /// Where the spans of `service` go.
    fn spans(&mut self, service: &'static str) -> anyhow::Result<Spans> {
        let (spans, posting) = Spans::start(self.trace, service)?;
        self.postings.push(posting);
        Ok(spans)
    }

    async fn pay(&mut self, keys: &Keys) -> anyhow::Result<pay_service::Parts> {
        Ok(pay_service::Parts {
            keyring: self.keyring.clone(),
            store: pay_service::store::open(&self.database("pay.db"), 1).await?,
            broker: self.broker.clone(),
            sources: self.sources.clone(),
            sandbox_secret: Some(webhook_secret(&keys.sandbox_channel_secret)?),
            spans: self.spans("pay-service")?,
        })
    }

    async fn notifier(&mut self, settings: &Settings) -> anyhow::Result<notifier::Parts> {
        let database = self.database("notifier.db");
        let entropy = self.sources.entropy.clone();
        let vault = notifier::secrets::vault(&settings.secret_keys, &database, entropy)?;
        let store =
            notifier::store::open(&database, 1, vault, settings.retention, self.sources.clock.now()).await?;
        notifier::secrets::require_keys(&*store).await?;
        Ok(notifier::Parts {
            keyring: self.keyring.clone(),
            store,
            broker: self.broker.clone(),
            sources: self.sources.clone(),
            egress: settings.targets.egress(),
            max_in_flight: affordable("MAX_IN_FLIGHT", settings.max_in_flight),
            disable_after: settings.disable_after,
            retention: settings.retention,
            backlog_limits: settings.backlog.limits(),
            merchant_limits: settings.merchants.limits(),
            spans: self.spans("notifier")?,
        })
    }

    async fn account(
        &mut self,
        keys: &Keys,
        settings: &Settings,
        secret: &Secret,
        pay: SocketAddr,
    ) -> anyhow::Result<account_service::Parts> {
        let key = keys.of_merchant(ACCOUNT_MERCHANT).context("the account-service has a key")?;
        let pay_service = HttpPayService::new(http(pay).parse()?, key, PAY_SERVICE_TIMEOUT)?;
        Ok(account_service::Parts {
            keyring: self.keyring.clone(),
            store: account_service::store::open(&self.database("account.db"), 1).await?,
            pay_service: Arc::new(pay_service),
            webhook_secrets: Some(vec![webhook_secret(secret)?]),
            queue: None,
            merchant: ACCOUNT_MERCHANT.to_owned(),
            sweep: account_service::SweepPlan::standard(PAY_SERVICE_TIMEOUT),
            periods: account_service::PeriodPlan::standard(settings.nightly_reconciliation),
            sources: self.sources.clone(),
            spans: self.spans("account-service")?,
        })
    }
}

impl Listeners {
    async fn bind(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            pay: bind("--pay-listen", settings.pay_listen).await?,
            notifier: bind("--notifier-listen", settings.notifier_listen).await?,
            account: bind("--account-listen", settings.account_listen).await?,
        })
    }

    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            pay: self.pay.local_addr()?,
            notifier: self.notifier.local_addr()?,
            account: self.account.local_addr()?,
        })
    }
}

async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("can't listen on {address} ({setting})"))
}

/// The keys in force, and those of `KEYS_FILE`, which need not be there in the data directory.
fn keyring(
    keys: &Keys,
    settings: &CommonSettings,
    folder: &Path,
    clock: SharedClock,
) -> anyhow::Result<Keyring> {
    let keyring = Keyring::new(Some(&keys.operator), &keys.merchants);
    let beside = folder.join(MERCHANTS_FILE);
    let (file, may_be_missing) = match &settings.keys_file {
        Some(file) => (file, false),
        None => (&beside, true),
    };
    Ok(keyring.with_file(file, may_be_missing, clock)?)
}

fn webhook_secret(secret: &Secret) -> anyhow::Result<WebhookSecret> {
    secret.expose().parse().context("keys.toml holds a signing secret that is none")
}

/// How a program of this machine reaches `address`.
pub fn http(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{address}")
}
