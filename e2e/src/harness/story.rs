//! What happens in the tests, in the words of the domain.

use std::time::Duration;

use serde_json::{Value, json};

use super::wait::{PATIENCE, eventually};
use super::{ACCOUNT_KEY, Answer, Stack, signature};

/// A ladder of `steps` steps of one second, the shortest there is.
pub fn ladder_of_seconds(steps: usize) -> Vec<&'static str> {
    vec!["1s"; steps]
}

/// A subscription of the test, and where its webhooks arrive.
#[derive(Debug, Clone)]
pub struct Subscriber {
    /// The subscription's id.
    pub id: String,
    /// What its webhooks are verified with: the secret or, for `v1a`, the public key.
    pub key: String,
    /// The path of the test's receiver.
    pub path: String,
}

impl Stack {
    /// Opens an account.
    pub async fn open_account(&self, account_no: &str) {
        let account = json!({ "account_no": account_no, "account_name": format!("Account {account_no}") });
        self.account.post("/v1/accounts", &account).await.expect(201);
    }

    /// What is on the account, in minor units.
    pub async fn balance(&self, account_no: &str) -> i64 {
        let account = self.account.get(&format!("/v1/accounts/{account_no}")).await.expect(200);
        account["balance"].as_i64().expect("a balance is an integer")
    }

    /// What was credited to the account.
    pub async fn credits(&self, account_no: &str) -> Vec<Value> {
        self.account.list(&format!("/v1/accounts/{account_no}/credits")).await
    }

    /// Waits until the balance is `expected`.
    pub async fn until_balance(&self, account_no: &str, expected: i64) {
        eventually(&format!("{account_no} has {expected}"), PATIENCE, async || {
            (self.balance(account_no).await == expected).then_some(())
        })
        .await;
    }

    /// Recharges through account-service; returns its answer.
    pub async fn recharge(&self, account_no: &str, amount: i64) -> Value {
        let path = format!("/v1/accounts/{account_no}/recharges");
        self.account.post(&path, &json!({ "amount": amount })).await.expect(201)
    }

    /// Recharges at pay-service, as the merchant `account-service`; returns the recharge.
    pub async fn recharge_directly(
        &self,
        order: &str,
        account_no: &str,
        amount: i64,
        channel: &str,
    ) -> Value {
        let recharge = json!({
            "merchant_order_no": order, "account_no": account_no, "amount": amount, "channel": channel,
        });
        self.pay.with_key(ACCOUNT_KEY).post("/v1/recharges", &recharge).await.expect(201)
    }

    /// The payment platform `sandbox` calls back with the result of a recharge.
    pub async fn sandbox_calls_back(&self, recharge: &Value, result: &str) -> Answer {
        let body = json!({
            "tx_no": recharge["tx_no"], "amount": recharge["amount"],
            "currency": recharge["currency"], "result": result,
        });
        let id = format!("callback-{result}-{}", text(&recharge["tx_no"]));
        self.signed_callback(&id, &body.to_string()).await
    }

    async fn signed_callback(&self, id: &str, body: &str) -> Answer {
        let signed = signature::headers(&self.sandbox_secret, id, body);
        let mut headers: Vec<(&str, &str)> =
            signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.push(("content-type", "application/json"));
        let call = self.pay.without_key();
        let answer =
            call.call(reqwest::Method::POST, "/v1/callbacks/sandbox", &headers, body.to_owned()).await;
        answer.expect("pay-service answers")
    }

    /// Makes the operator's subscription `name`, which belongs to no merchant, for `event_types`;
    /// its webhooks arrive at `/<name>`. `more` overrides or adds fields.
    pub async fn subscribe(&self, name: &str, event_types: &[&str], more: Value) -> Subscriber {
        let path = format!("/{name}");
        let mut subscription = json!({
            "name": name, "url": self.receiver.url(&path), "event_types": event_types,
            "ladder": ladder_of_seconds(20),
        });
        let fields = subscription.as_object_mut().expect("it is an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let created = self.notifier.post("/v1/subscriptions", &subscription).await.expect(201);
        let key = if created["secret"].is_null() { &created["public_key"] } else { &created["secret"] };
        Subscriber { id: text(&created["id"]), key: text(key), path }
    }

    /// Sets a subscription's state: `active`, `paused` or `disabled`.
    pub async fn set_state(&self, subscription: &str, state: &str) {
        let path = format!("/v1/subscriptions/{subscription}");
        self.notifier.patch(&path, &json!({ "state": state })).await.expect(200);
    }

    /// The notifications of a subscription about `subject`.
    pub async fn notifications(&self, subscription: &str, subject: &str) -> Vec<Value> {
        let path = format!("/v1/notifications?subscription_id={subscription}&subject={subject}");
        self.notifier.list(&path).await
    }

    /// A notification with its event and its attempts.
    pub async fn notification(&self, id: &Value) -> Value {
        self.notifier.get(&format!("/v1/notifications/{}", text(id))).await.expect(200)
    }

    /// Waits until the one notification of a subscription about `subject` is in `state`.
    pub async fn until_notification(&self, subscription: &str, subject: &str, state: &str) -> Value {
        self.until_notification_within(PATIENCE, subscription, subject, state).await
    }

    /// The same with a limit of its own.
    pub async fn until_notification_within(
        &self,
        within: Duration,
        subscription: &str,
        subject: &str,
        state: &str,
    ) -> Value {
        let found = eventually(&format!("the notification about {subject} is {state}"), within, async || {
            let all = self.notifications(subscription, subject).await;
            assert!(all.len() <= 1, "one event makes one notification per subscription: {all:?}");
            all.into_iter().find(|one| one["state"] == state)
        })
        .await;
        self.notification(&found["id"]).await
    }

    /// account-service's reconciliation query.
    pub async fn ask(&self, tx_no: &str) -> Answer {
        self.account.get(&format!("/v1/payresult/{tx_no}")).await
    }
}

/// The text of a JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text")).to_owned()
}
