//! A stream of recharges that goes on whatever happens to the services.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{ACCOUNT_KEY, Answer, Api, Stack, eventually};

const WORKERS: u64 = 24;
/// Every so many recharges one is asked for at account-service instead of at pay-service.
const BY_ACCOUNT_SERVICE: u64 = 5;
/// A caller whose call failed does not call again at once.
const PAUSE: Duration = Duration::from_millis(20);
/// An outage that lasts longer fails the test.
const OUTAGE: Duration = Duration::from_mins(1);

/// Recharges on their way, as many as were released.
pub struct Stream {
    total: u64,
    released: u64,
    state: Arc<State>,
    workers: JoinSet<()>,
}

struct State {
    pay: Api,
    account: Api,
    accounts: Vec<String>,
    total: u64,
    permits: Semaphore,
    next: AtomicU64,
    answered: AtomicU64,
    calls: AtomicU64,
}

impl Stream {
    /// A stream of `total` recharges of `accounts`; none is released yet.
    pub fn new(stack: &Stack, accounts: &[String], total: u64) -> Self {
        let state = Arc::new(State {
            pay: stack.pay.with_key(ACCOUNT_KEY).kept_alive(),
            account: stack.account.kept_alive(),
            accounts: accounts.to_vec(),
            total,
            permits: Semaphore::new(0),
            next: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(state.clone()));
        }
        Self { total, released: 0, state, workers }
    }

    /// Lets `count` more go, as far as there are any left.
    pub fn release(&mut self, count: u64) {
        let count = count.min(self.total - self.released);
        self.released += count;
        self.state.permits.add_permits(usize::try_from(count).expect("few enough"));
    }

    /// How many have been released.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Waits until `count` recharges have their answer.
    pub async fn until_answered(&self, count: u64) {
        eventually(&format!("{count} recharges are answered"), OUTAGE, async || {
            (self.state.answered.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
    }

    /// Waits until `count` more calls have ended, with or without an answer.
    pub async fn until_calls(&self, count: u64) {
        let end = self.state.calls.load(Ordering::Relaxed) + count;
        eventually(&format!("{count} more calls have ended"), OUTAGE, async || {
            let all_answered = self.state.answered.load(Ordering::Relaxed) >= self.released;
            (all_answered || self.state.calls.load(Ordering::Relaxed) >= end).then_some(())
        })
        .await;
    }

    /// Releases the rest and waits until all are answered.
    pub async fn finish(mut self) {
        self.release(self.total);
        self.state.permits.add_permits(usize::try_from(WORKERS).expect("a few"));
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("no caller was answered what it must not be");
        }
    }
}

async fn work(state: Arc<State>) {
    loop {
        state.permits.acquire().await.expect("the stream is never closed").forget();
        let number = state.next.fetch_add(1, Ordering::Relaxed);
        if number >= state.total {
            return;
        }
        if !number.is_multiple_of(BY_ACCOUNT_SERVICE) || !state.ask_account_service(number).await {
            state.recharge(number).await;
        }
        state.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    fn account_no(&self, number: u64) -> &str {
        let index = number % self.accounts.len() as u64;
        &self.accounts[usize::try_from(index).expect("an index")]
    }

    /// Asks account-service once: it chooses the order number itself, so whoever got no answer
    /// can't repeat the question. Whether or not that recharge came about, the books must agree.
    async fn ask_account_service(&self, number: u64) -> bool {
        let path = format!("/v1/accounts/{}/recharges", self.account_no(number));
        let body = json!({ "amount": amount(number) }).to_string();
        self.call(&self.account, &path, body).await.is_some()
    }

    /// Asks pay-service until it answers, always with the same order number.
    async fn recharge(&self, number: u64) {
        let recharge = json!({
            "merchant_order_no": format!("stream-{number}"),
            "account_no": self.account_no(number),
            "amount": amount(number),
            "attach": format!("number {number}"),
        });
        let deadline = Instant::now() + OUTAGE;
        while self.call(&self.pay, "/v1/recharges", recharge.to_string()).await.is_none() {
            assert!(Instant::now() < deadline, "recharge {number} got no answer for {} s", OUTAGE.as_secs());
            sleep(PAUSE).await;
        }
    }

    /// `None` when nothing is known: no answer, or 503. Any other refusal is a defect.
    async fn call(&self, api: &Api, path: &str, body: String) -> Option<Answer> {
        let headers = [("content-type", "application/json")];
        let answer = api.call(Method::POST, path, &headers, body).await;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = answer.ok()?;
        match answer.status {
            200 | 201 => Some(answer),
            503 => None,
            status => panic!("{path} answered {status}: {}", answer.text),
        }
    }
}

fn amount(number: u64) -> u64 {
    1 + number % 997
}
