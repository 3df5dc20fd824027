//! What is done to the services and their servers while recharges stream through them.

use serde_json::json;

use super::books;
use super::dice::Dice;
use super::stream::Stream;
use super::{recharges, rounds};
use crate::harness::{Footing, Kind, Options, PrivateServer, Program, Service, Stack, Subscriber};

const ACCOUNTS: u64 = 7;

/// A stack with accounts, a subscriber and a stream.
struct Scene {
    stack: Stack,
    accounts: Vec<String>,
    subscriber: Subscriber,
    stream: Stream,
    dice: Dice,
}

impl Scene {
    /// `intake` is account-service's: by webhook alone, or from the queue as well, which must not
    /// credit anything twice.
    async fn set(footing: Footing, intake: &'static str) -> Self {
        let stack = Stack::start_with(footing, Options { intake, ..Options::default() }).await;
        let accounts: Vec<String> = (0..ACCOUNTS).map(|number| format!("6222000{number}")).collect();
        for account_no in &accounts {
            stack.open_account(account_no).await;
        }
        let merchants = json!({ "merchant": "account-service", "timeout": "2s" });
        let subscriber = stack.subscribe("ledger", &["recharge.*"], merchants).await;
        let stream = Stream::new(&stack, &accounts, recharges());
        Self { stack, accounts, subscriber, stream, dice: Dice::new() }
    }

    /// Kills `service` at a random moment of the next `chunk` recharges, and once more while it
    /// starts or catches up with what it missed.
    async fn kill_during(&mut self, service: Service, chunk: u64) {
        let before = self.stream.released();
        self.stream.release(chunk);
        self.stream.until_answered(before + self.dice.below(chunk / 2)).await;
        self.stack.kill(service);
        self.stream.until_calls(5 + self.dice.below(chunk / 4)).await;
        self.stack.process(service).start();
        self.stream.until_calls(self.dice.below(chunk / 2)).await;
        self.stack.kill(service);
        self.stack.restart(service).await;
    }

    async fn settle(self) {
        self.stream.finish().await;
        books::compare(&self.stack, &self.accounts, &self.subscriber, recharges()).await;
    }
}

/// Each service in turn, several times, with SIGKILL.
pub async fn services_are_killed_in_turn(footing: Footing) {
    let victims: &[Service] = match footing.kind {
        Kind::AllInOne => &[Service::Pay],
        Kind::Sqlite => &[Service::Pay, Service::Notifier, Service::Account],
        Kind::Postgres => &[Service::Pay, Service::Notifier, Service::Account, Service::SecondNotifier],
    };
    let intake = if footing.kind == Kind::Postgres { "both" } else { "webhook" };
    let mut scene = Scene::set(footing, intake).await;
    let chunk = recharges() / (rounds() * victims.len() as u64 + 1);
    for _ in 0..rounds() {
        for victim in victims {
            scene.kill_during(*victim, chunk).await;
        }
    }
    scene.settle().await;
}

/// Once in order and once with SIGKILL. While it is away, pay-service goes on taking recharges.
pub async fn rabbitmq_is_stopped_and_started() {
    let mut rabbitmq = PrivateServer::start(Program::RabbitMq).await;
    let mut scene = Scene::set(Footing::postgres_with(None, Some(&rabbitmq)).await, "both").await;
    let chunk = recharges() / 5;
    for in_order in [true, false] {
        let before = scene.stream.released();
        scene.stream.release(chunk);
        scene.stream.until_answered(before + scene.dice.below(chunk / 2)).await;
        if in_order {
            rabbitmq.stop().await;
        } else {
            rabbitmq.kill().await;
        }
        scene.stream.release(chunk);
        scene.stream.until_answered(before + 2 * chunk).await;
        rabbitmq.start_again().await;
        scene.stack.until_ready().await;
    }
    scene.settle().await;
}

/// Twice, as a power cut would end it, under all three services at once.
pub async fn postgres_is_killed_and_started() {
    let mut postgres = PrivateServer::start(Program::Postgres).await;
    let mut scene = Scene::set(Footing::postgres_with(Some(&postgres), None).await, "webhook").await;
    let chunk = recharges() / 3;
    for _ in 0..2 {
        let before = scene.stream.released();
        scene.stream.release(chunk);
        scene.stream.until_answered(before + scene.dice.below(chunk / 2)).await;
        postgres.kill().await;
        scene.stream.until_calls(5 + scene.dice.below(40)).await;
        postgres.start_again().await;
        scene.stack.until_ready().await;
    }
    scene.settle().await;
}
