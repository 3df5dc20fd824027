//! The services of one test: started, found, killed and started again.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::footing::{Footing, Kind};
use super::process::Process;
use super::wait::{PATIENCE, eventually};
use super::{ACCOUNT_KEY, Api, OPERATOR_KEY, Receiver, SANDBOX_SECRET, SHOP_KEY, ladder_of_seconds, port};

/// One of the services; in the all-in-one process they all are the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// pay-service.
    Pay,
    /// The notifier whose API the tests call.
    Notifier,
    /// The second notifier, on the footing that has one.
    SecondNotifier,
    /// A notifier that joined later, by its number.
    FurtherNotifier(usize),
    /// account-service.
    Account,
}

/// What differs between the stacks of different tests.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// account-service's `INTAKE`.
    pub intake: &'static str,
    /// account-service's `QUEUE_LADDER`.
    pub queue_ladder: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { intake: "webhook", queue_ladder: "standard" }
    }
}

/// The running services, ready, with account-service subscribed on a ladder of seconds.
pub struct Stack {
    /// pay-service, called by the operator.
    pub pay: Api,
    /// The notifier, called by the operator.
    pub notifier: Api,
    /// account-service, called by the operator.
    pub account: Api,
    /// Where the test's own subscribers listen.
    pub receiver: Receiver,
    /// The id of account-service's own subscription.
    pub account_subscription: String,
    /// What signs the callbacks of the channel `sandbox`.
    pub sandbox_secret: String,
    pub(super) processes: Vec<(Service, Process)>,
    pub(super) addresses: Addresses,
    /// Dropped after the processes that use it.
    pub footing: Footing,
}

pub(super) struct Addresses {
    pub pay: SocketAddr,
    pub notifier: SocketAddr,
    pub second: SocketAddr,
    pub further: Vec<SocketAddr>,
    pub account: SocketAddr,
}

impl Stack {
    /// Starts the services of `footing` with the usual options.
    pub async fn start(footing: Footing) -> Self {
        Self::start_with(footing, Options::default()).await
    }

    /// Starts the services of `footing`.
    pub async fn start_with(footing: Footing, options: Options) -> Self {
        let addresses = Addresses {
            pay: port::free(),
            notifier: port::free(),
            second: port::free(),
            further: Vec::new(),
            account: port::free(),
        };
        let api = |address: SocketAddr| Api::new(format!("http://{address}"), OPERATOR_KEY);
        let mut stack = Self {
            pay: api(addresses.pay),
            notifier: api(addresses.notifier),
            account: api(addresses.account),
            receiver: Receiver::start().await,
            account_subscription: String::new(),
            sandbox_secret: SANDBOX_SECRET.to_owned(),
            processes: Vec::new(),
            addresses,
            footing,
        };
        match stack.footing.kind {
            Kind::AllInOne => stack.start_all_in_one().await,
            Kind::Sqlite | Kind::Postgres => stack.start_services(options).await,
        }
        stack
    }

    async fn start_services(&mut self, options: Options) {
        let pay = self.pay_service();
        self.add(Service::Pay, pay);
        let notifier = self.notifier("notifier", self.addresses.notifier);
        self.add(Service::Notifier, notifier);
        if self.footing.kind == Kind::Postgres {
            let second = self.notifier("notifier-2", self.addresses.second);
            self.add(Service::SecondNotifier, second);
        }
        self.until_ready().await;
        let secret = self.subscribe_account_service().await;
        let account = self.account_service(options, &secret);
        self.add(Service::Account, account);
        self.until_ready().await;
    }

    /// The all-in-one process subscribes its account-service by itself; only the ladder is changed.
    async fn start_all_in_one(&mut self) {
        let all = self.all_in_one();
        self.add(Service::Pay, all);
        self.until_ready().await;
        let all = self.notifier.list("/v1/subscriptions").await;
        let own = all.iter().find(|one| one["name"] == "account-service").expect("it subscribes itself");
        own["id"].as_str().expect("a subscription has an id").clone_into(&mut self.account_subscription);
        let path = format!("/v1/subscriptions/{}", self.account_subscription);
        self.notifier
            .patch(&path, &json!({ "ladder": ladder_of_seconds(20), "timeout": "2s" }))
            .await
            .expect(200);
        self.sandbox_secret = self.kept_sandbox_secret();
    }

    /// Makes account-service's subscription as its merchant would; returns the secret.
    async fn subscribe_account_service(&mut self) -> String {
        let subscription = json!({
            "name": "account-service",
            "url": format!("http://{}/v1/notifications", self.addresses.account),
            "event_types": ["recharge.*"],
            "ladder": ladder_of_seconds(20),
            "timeout": "2s",
        });
        let created =
            self.notifier.with_key(ACCOUNT_KEY).post("/v1/subscriptions", &subscription).await.expect(201);
        created["id"].as_str().expect("a subscription has an id").clone_into(&mut self.account_subscription);
        created["secret"].as_str().expect("the secret is shown once").to_owned()
    }

    /// Starts one more notifier on the same database and queue, and waits until it is ready.
    pub async fn add_notifier(&mut self) -> Service {
        let (number, address) = (self.addresses.further.len(), port::free());
        let notifier = self.notifier(&format!("notifier-{}", number + 3), address);
        self.addresses.further.push(address);
        self.add(Service::FurtherNotifier(number), notifier);
        self.until_ready().await;
        Service::FurtherNotifier(number)
    }

    fn add(&mut self, service: Service, mut process: Process) {
        process.start();
        self.processes.push((service, process));
    }

    /// The process that runs `service`.
    pub fn process(&mut self, service: Service) -> &mut Process {
        let all_in_one = self.footing.kind == Kind::AllInOne;
        let found = self.processes.iter_mut().find(|(one, _)| all_in_one || *one == service);
        &mut found.unwrap_or_else(|| panic!("{service:?} runs on this footing")).1
    }

    /// The API of the process that runs `service`.
    pub fn api(&self, service: Service) -> Api {
        match service {
            Service::Pay => self.pay.clone(),
            Service::Notifier => self.notifier.clone(),
            Service::SecondNotifier => Api::new(format!("http://{}", self.addresses.second), OPERATOR_KEY),
            Service::FurtherNotifier(number) => {
                Api::new(format!("http://{}", self.addresses.further[number]), OPERATOR_KEY)
            }
            Service::Account => self.account.clone(),
        }
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self, service: Service) {
        self.process(service).kill();
    }

    /// Leaves one notifier running at the most, so that it is known which one does the work.
    pub fn kill_second_notifier(&mut self) {
        if self.footing.kind == Kind::Postgres {
            self.kill(Service::SecondNotifier);
        }
    }

    /// Leaves no notifier running.
    pub fn kill_notifiers(&mut self) {
        self.kill_second_notifier();
        self.kill(Service::Notifier);
    }

    /// Starts a killed or ended service again at its address, and waits until it is ready.
    pub async fn restart(&mut self, service: Service) {
        self.process(service).start();
        self.until_ready().await;
    }

    /// Waits until every running process says that it is ready.
    pub async fn until_ready(&mut self) {
        let services: Vec<Service> = self.processes.iter().map(|(service, _)| *service).collect();
        for service in services {
            let apis = match self.footing.kind {
                Kind::AllInOne => vec![self.pay.clone(), self.notifier.clone(), self.account.clone()],
                Kind::Sqlite | Kind::Postgres => vec![self.api(service)],
            };
            let process = self.process(service);
            if !process.was_started() {
                continue;
            }
            for api in apis {
                eventually(&format!("{service:?} is ready"), PATIENCE.saturating_mul(2), async || {
                    assert!(process.is_running(), "{service:?} ended by itself:\n{}", process.log());
                    api.is_ready().await.then_some(())
                })
                .await;
            }
        }
    }

    /// A counter of a service's metrics, over all of its labels.
    pub async fn metric(&self, service: Service, name: &str) -> usize {
        let exposed = self.api(service).get("/metrics").await;
        assert_eq!(exposed.status, 200);
        let own = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<usize>().ok());
        exposed.text.lines().filter(own).filter_map(value).sum()
    }

    /// The keys that every process is given.
    pub(super) fn with_keys(process: Process) -> Process {
        process
            .variable("RINGBACK_OPERATOR_KEY", OPERATOR_KEY)
            .variable("RINGBACK_MERCHANT_KEYS", format!("shop={SHOP_KEY},account-service={ACCOUNT_KEY}"))
    }
}

/// How long a process may take to end after SIGTERM; the grace period of the services is shorter.
pub const ENDING: Duration = Duration::from_secs(20);
