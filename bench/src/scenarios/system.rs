//! All three services together, account-service subscribed: recharges go in, credits come out.

use std::net::SocketAddr;

use anyhow::Context;
use e2e::harness::{ACCOUNT_KEY, Api, Footing, Kind, Service, Stack, port};
use tokio::time::Instant;

use super::credit::{account_no, authorization, open_accounts};
use crate::books::Books;
use crate::events::{ACCOUNT_MERCHANT, Maker};
use crate::load::Call;
use crate::run::Bench;
use crate::services::{Running, Services, Wish};

/// The running services and their books.
pub struct System {
    /// pay-service.
    pub pay: SocketAddr,
    /// The notifier's API, called by the operator.
    pub notifier: Api,
    /// The number of the notifier's process.
    pub notifier_process: u32,
    /// How long the all-in-one process took to be ready, ms.
    pub start_ms: Option<f64>,
    /// Their books.
    pub pay_books: Books,
    /// Their books.
    pub notifier_books: Books,
    /// Their books.
    pub account_books: Books,
    maker: Maker,
    accounts: usize,
    programs: Programs,
}

/// What keeps running as long as the system is used.
enum Programs {
    Three { _services: Services, running: Vec<Running> },
    One(#[expect(dead_code, reason = "it ends when it is dropped")] Box<Stack>),
}

impl System {
    /// Starts everything on an empty footing and opens the accounts.
    pub async fn start(bench: &Bench<'_>) -> anyhow::Result<Self> {
        let footing = bench.footing().await;
        if footing.kind == Kind::AllInOne {
            Self::one(bench, footing).await
        } else {
            Self::three(bench, footing).await
        }
    }

    async fn three(bench: &Bench<'_>, footing: Footing) -> anyhow::Result<Self> {
        let services = Services::on(bench, footing);
        let (pay, notifier) = (services.pay().await, services.notifier("notifier").await);
        let address = port::free();
        let wish = Wish {
            name: ACCOUNT_MERCHANT.into(),
            url: format!("http://{address}/v1/notifications"),
            merchant: Some(ACCOUNT_MERCHANT.into()),
            in_flight: bench.settings.in_flight,
        };
        let secret = wish.make(&notifier.api).await;
        let account = services.account(address, pay.api.base(), "webhook", &secret).await;
        open_accounts(account.address, bench.settings.accounts).await?;
        let footing = &services.footing;
        Ok(Self {
            pay: pay.address,
            notifier: notifier.api.clone(),
            notifier_process: notifier.id(),
            start_ms: None,
            pay_books: Books::open(&footing.pay_database).await?,
            notifier_books: Books::open(&footing.notifier_database).await?,
            account_books: Books::open(&footing.account_database).await?,
            maker: Maker::new(bench.seed),
            accounts: bench.settings.accounts,
            programs: Programs::Three { _services: services, running: vec![pay, notifier, account] },
        })
    }

    async fn one(bench: &Bench<'_>, footing: Footing) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut stack = Stack::start(footing).await;
        let start_ms = Some(began.elapsed().as_secs_f64() * 1e3);
        let address = |api: &Api| -> anyhow::Result<SocketAddr> {
            Ok(api.base().strip_prefix("http://").context("an address")?.parse()?)
        };
        open_accounts(address(&stack.account)?, bench.settings.accounts).await?;
        let folder = stack.footing.folder.path().join("data");
        let file = |name: &str| format!("sqlite://{}", folder.join(name).display());
        Ok(Self {
            pay: address(&stack.pay)?,
            notifier: stack.notifier.kept_alive(),
            notifier_process: stack.process(Service::Notifier).id().context("it is running")?,
            start_ms,
            pay_books: Books::open(&file("pay.db")).await?,
            notifier_books: Books::open(&file("notifier.db")).await?,
            account_books: Books::open(&file("account.db")).await?,
            maker: Maker::new(bench.seed),
            accounts: bench.settings.accounts,
            programs: Programs::One(Box::new(stack)),
        })
    }

    /// `count` recharges of 1 fen to accounts drawn by lot.
    pub fn recharges(&self, count: usize) -> Vec<Call> {
        let headers = authorization(ACCOUNT_KEY);
        let call = |_| {
            let (order, account) = (self.maker.id(), account_no(self.maker.draw(self.accounts)));
            let body = format!(r#"{{"merchant_order_no":"{order}","account_no":"{account}","amount":1}}"#);
            Call { path: "/v1/recharges".into(), headers: headers.clone(), body: body.into() }
        };
        (0..count).map(call).collect()
    }

    /// The processes: their names and numbers.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let names = ["pay-service", "notifier", "account-service"];
        match &self.programs {
            Programs::Three { running, .. } => {
                names.into_iter().zip(running.iter().map(Running::id)).collect()
            }
            Programs::One(_) => vec![("ringback", self.notifier_process)],
        }
    }
}
