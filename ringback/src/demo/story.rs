//! The acts, each of which must come true.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::narrator::{Narrator, yuan};
use super::network::Network;
use super::subscribers;
use crate::client::Client;
use crate::process::Process;

const ACCOUNT: &str = "alice";
const FIRST: i64 = 1_000;
const SECOND: i64 = 2_500;
const HESITANT: &str = "hesitant-shop";
const SILENT: &str = "silent-shop";
/// How often a state that must come is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The story and everyone in it.
pub struct Story {
    account: Client,
    notifier: Client,
    network: Network,
    narrator: Narrator,
}

impl Story {
    /// Sets the scene: an account, two more subscribers, and a network that will lose something.
    pub async fn begin(process: &Process, narrator: Narrator) -> anyhow::Result<Self> {
        let account = process.account_client()?;
        let notifier = process.notifier_client()?;
        let network = Network::new(format!("{}/v1/notifications", account.base()), narrator.clone())?;
        let story = Self { account, notifier, network, narrator };
        story.lay_the_network().await?;
        let hesitant = subscribers::hesitant(HESITANT, &story.narrator).await?;
        story.subscribe(HESITANT, &hesitant, json!(["1s", "2s", "4s"])).await?;
        let silent = subscribers::silent(SILENT, &story.narrator).await?;
        story.subscribe(SILENT, &silent, json!(["1s", "2s"])).await?;
        let alice = json!({ "account_no": ACCOUNT, "account_name": "Alice" });
        story.account.post("/v1/accounts", alice).await?;
        story.narrator.tell(ACCOUNT, "has opened an account; three subscribers wait for results");
        Ok(story)
    }

    /// Tells all of it.
    pub async fn tell(self) -> anyhow::Result<()> {
        let first = self.recharge(FIRST).await?;
        self.until_balance(FIRST).await?;
        self.narrator.tell("account-service", &format!("was notified and credited {}, once", yuan(FIRST)));
        let (accepted, exhausted) =
            tokio::join!(self.until_delivered_third_time(&first), self.until_exhausted(&first));
        accepted?;
        exhausted?;
        self.lose_and_heal().await?;
        let balance = self.balance().await?;
        ensure!(balance == FIRST + SECOND, "the balance should be {}, is {balance}", FIRST + SECOND);
        self.narrator.tell(ACCOUNT, &format!("has {}: every recharge credited exactly once", yuan(balance)));
        Ok(())
    }

    async fn lose_and_heal(&self) -> anyhow::Result<()> {
        self.network.lose_next();
        let second = self.recharge(SECOND).await?;
        self.network.lost_one().await;
        ensure!(self.balance().await? == FIRST, "a lost notification must not credit");
        self.narrator.tell("account-service", "has heard nothing, so it asks: GET /v1/payresult/{tx_no}");
        let answer = self.account.get(&format!("/v1/payresult/{second}")).await?;
        ensure!(answer["credited"] == true, "the reconciliation query must credit, answered {answer}");
        self.narrator.tell("pay-service", &format!("says succeeded; {} credited by the query", yuan(SECOND)));
        let again = self.account.get(&format!("/v1/payresult/{second}")).await?;
        ensure!(again["source"] == "ledger", "the second answer must come from the ledger, came as {again}");
        Ok(())
    }

    async fn recharge(&self, amount: i64) -> anyhow::Result<String> {
        let path = format!("/v1/accounts/{ACCOUNT}/recharges");
        let answer = self.account.post(&path, json!({ "amount": amount })).await?;
        ensure!(answer["status"] == "succeeded", "the recharge must succeed, answered {answer}");
        let tx_no = answer["tx_no"].as_str().context("a recharge has a tx_no")?.to_owned();
        self.narrator.tell("pay-service", &format!("recharge of {} succeeded, tx_no {tx_no}", yuan(amount)));
        Ok(tx_no)
    }

    async fn until_delivered_third_time(&self, tx_no: &str) -> anyhow::Result<()> {
        let notification = self.until_state(HESITANT, tx_no, "delivered").await?;
        let attempts = notification["attempts"].as_array().map_or(0, Vec::len);
        ensure!(attempts == 3, "the hesitant subscriber should need 3 attempts, needed {attempts}");
        self.narrator.tell("notifier", &format!("{HESITANT}: delivered at attempt 3"));
        Ok(())
    }

    async fn until_exhausted(&self, tx_no: &str) -> anyhow::Result<()> {
        self.until_state(SILENT, tx_no, "exhausted").await?;
        self.narrator
            .tell("notifier", &format!("{SILENT}: the ladder has ended, exhausted; an operator can resend"));
        Ok(())
    }

    async fn until_balance(&self, expected: i64) -> anyhow::Result<()> {
        while self.balance().await? != expected {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn balance(&self) -> anyhow::Result<i64> {
        let account = self.account.get(&format!("/v1/accounts/{ACCOUNT}")).await?;
        account["balance"].as_i64().context("an account has a balance")
    }

    /// Waits until the notification of `tx_no` to `subscriber` is in `state`, and shows it whole.
    async fn until_state(&self, subscriber: &str, tx_no: &str, state: &str) -> anyhow::Result<Value> {
        let subscription = self.subscription(subscriber).await?;
        let query = format!("subscription_id={subscription}&subject={tx_no}&state={state}");
        loop {
            let found = self.notifier.get(&format!("/v1/notifications?{query}")).await?;
            if let Some(id) = found["items"][0]["id"].as_str() {
                return self.notifier.get(&format!("/v1/notifications/{id}")).await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn subscribe(&self, name: &str, url: &str, ladder: Value) -> anyhow::Result<()> {
        let body = json!({
            "name": name, "url": url, "event_types": ["recharge.*"], "ladder": ladder, "timeout": "1s",
        });
        self.notifier.post("/v1/subscriptions", body).await.map(drop)
    }

    async fn subscription(&self, name: &str) -> anyhow::Result<String> {
        let list = self.notifier.get("/v1/subscriptions").await?;
        let mut items = list["items"].as_array().into_iter().flatten();
        let found = items.find(|s| s["name"] == name).context("the subscription is listed")?;
        Ok(found["id"].as_str().context("a subscription has an id")?.to_owned())
    }

    /// Puts the network between the notifier and the account-service.
    async fn lay_the_network(&self) -> anyhow::Result<()> {
        let near = self.network.connect().await?;
        let id = self.subscription("account-service").await?;
        self.notifier.patch(&format!("/v1/subscriptions/{id}"), json!({ "url": near })).await.map(drop)
    }
}
