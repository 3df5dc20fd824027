//! Results are credited: from the queue, every credit on one hot account and then on 10 000; and by
//! webhook, each request signed and verified.

use std::net::SocketAddr;

use anyhow::ensure;
use e2e::harness::{OPERATOR_KEY, port};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use messaging::broker::RECHARGE_RESULTS;
use messaging::webhook::WebhookSecret;
use runtime::identity::SystemEntropy;

use super::publisher::Publisher;
use crate::books::Books;
use crate::clock::{self, Micros};
use crate::cpu::Meter;
use crate::events::{ACCOUNT_MERCHANT, Maker, webhook};
use crate::figures::Figures;
use crate::load::{Call, Target};
use crate::run::Bench;
use crate::services::Services;
use crate::yardsticks::{INSERTED, TAKEN};

const RESULTS: usize = 100_000;
const WEBHOOKS: usize = 30_000;
/// It is not asked anything here.
const NO_PAY_SERVICE: &str = "http://127.0.0.1:9";

/// All three.
pub async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    for (accounts, name) in [(1, "queue, one account"), (10_000, "queue, 10 000 accounts")] {
        figures.extend(from_queue(bench, name, accounts).await?);
    }
    for yardstick in [TAKEN, INSERTED] {
        let ratio = format!("queue, one account / {yardstick}");
        figures.add_ratio(ratio, figures.get("queue, one account"), bench.yardsticks.get(yardstick));
    }
    figures.extend(by_webhook(bench).await?);
    Ok(figures)
}

/// Measured from the first commit after the warm-up to the last.
async fn from_queue(bench: &Bench<'_>, name: &str, accounts: usize) -> anyhow::Result<Figures> {
    let services = Services::on_empty_footing(bench).await;
    let secret = WebhookSecret::generate(&SystemEntropy).expose();
    let count = bench.settings.events_or(RESULTS);
    let account = services.account(port::free(), NO_PAY_SERVICE, "queue", &secret).await;
    open_accounts(account.address, accounts).await?;
    account.stop().await;
    let publisher = Publisher::connect(&services.footing.broker).await?;
    publisher.declare(RECHARGE_RESULTS).await?;
    let maker = Maker::new(bench.seed);
    let results: Vec<_> =
        (0..count).map(|_| maker.succeeded(ACCOUNT_MERCHANT, &account_no(maker.draw(accounts)))).collect();
    publisher.fill(bench, &results).await?;
    bench.progress.step(&format!("credit: {name}"));
    let mut meter = Meter::start(bench.ground);
    let account = services.account(port::free(), NO_PAY_SERVICE, "queue", &secret).await;
    let books = Books::open(&services.footing.account_database).await?;
    meter.watch_from_birth("account-service", account.id());
    bench.until("credits", count, async || books.balances().await).await?;
    let observed = clock::now();
    books.check_credits(count).await?;
    let mut commits: Vec<Micros> = books.credits_committed().await?.into_values().collect();
    commits.sort_unstable();
    let warm_up = bench.settings.warm_up_of(count);
    let last = if books.postgres().is_some() { commits[count - 1] } else { observed };
    let mut figures = Figures::default();
    figures.add_rate(name, count - warm_up, commits[warm_up], last);
    meter.add_each(&mut figures, name, count);
    account.stop().await;
    Ok(figures)
}

/// Measured from the first request after the warm-up to the last answer.
async fn by_webhook(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let services = Services::on_empty_footing(bench).await;
    let secret = WebhookSecret::generate(&SystemEntropy);
    let account = services.account(port::free(), NO_PAY_SERVICE, "webhook", &secret.expose()).await;
    open_accounts(account.address, bench.settings.accounts).await?;
    let count = bench.settings.events_or(WEBHOOKS).min(WEBHOOKS);
    let warm_up = bench.settings.warm_up_of(count);
    let maker = Maker::new(bench.seed);
    let mut calls: Vec<Call> =
        (0..count).map(|_| signed(&maker, &secret, bench.settings.accounts)).collect::<Result<_, _>>()?;
    let measured = calls.split_off(warm_up);
    let target = Target { address: account.address, connections: bench.settings.connections };
    bench.progress.step("credit: webhook");
    target.closed_loop(calls).await?;
    let answered = target.closed_loop(measured).await?;
    let books = Books::open(&services.footing.account_database).await?;
    books.check_credits(count).await?;
    let from = answered.iter().map(|one| one.sent).min().unwrap_or_default();
    let to = answered.iter().map(|one| one.ended).max().unwrap_or_default();
    let mut figures = Figures::default();
    figures.add_rate("webhook", answered.len(), from, to);
    figures.add_latencies("webhook to answer", answered.iter().map(|one| one.ended - one.sent));
    account.stop().await;
    Ok(figures)
}

fn signed(maker: &Maker, secret: &WebhookSecret, accounts: usize) -> anyhow::Result<Call> {
    let event = maker.succeeded(ACCOUNT_MERCHANT, &account_no(maker.draw(accounts)));
    let body = webhook(&event);
    let timestamp = event.time.timestamp();
    let signature = secret.sign(&event.id, timestamp, body.as_bytes());
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", event.id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
    }
    Ok(Call { path: "/v1/notifications".into(), headers, body: body.into() })
}

/// The number of account `index`.
pub fn account_no(index: usize) -> String {
    format!("62220{index:06}")
}

/// Opens the first `count` accounts at the account-service at `address`.
pub async fn open_accounts(address: SocketAddr, count: usize) -> anyhow::Result<()> {
    let calls = (0..count).map(|index| {
        let body = format!(r#"{{"account_no":"{}","account_name":"Account {index}"}}"#, account_no(index));
        Call { path: "/v1/accounts".into(), headers: authorization(OPERATOR_KEY), body: body.into() }
    });
    let opened = Target { address, connections: 16 }.closed_loop(calls.collect()).await?;
    ensure!(opened.len() == count, "{} of {count} accounts are open", opened.len());
    Ok(())
}

/// The header that shows `key`.
pub fn authorization(key: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {key}")).expect("a key is visible ASCII");
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}
