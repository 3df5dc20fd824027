//! Whatever is sent: a clear problem of the right status, nothing changed, one line in the log.

mod account;
mod cases;
mod notifier;
mod pay;

use serde_json::{Value, json};

use crate::harness::{Footing, SHOP_KEY, Service, Stack, Subscriber};
use cases::Case;

const ACCOUNT: &str = "62220001";
/// An id that was never given out.
const NEVER_MADE: &str = "0193e6a0-0000-7000-8000-000000000000";

/// Recharges, queries, statements and callbacks.
pub async fn bad_input_at_pay_service_is_refused_and_changes_nothing(footing: Footing) {
    let scene = Scene::set(footing).await;
    scene.refuses(Service::Pay, pay::cases).await;
}

/// Subscriptions, notifications and replays.
pub async fn bad_input_at_the_notifier_is_refused_and_changes_nothing(footing: Footing) {
    let scene = Scene::set(footing).await;
    scene.refuses(Service::Notifier, notifier::cases).await;
}

/// Accounts, recharges of an account, queries and the webhook receiver.
pub async fn bad_input_at_account_service_is_refused_and_changes_nothing(footing: Footing) {
    let scene = Scene::set(footing).await;
    scene.refuses(Service::Account, account::cases).await;
}

/// Something of every kind, for bad input to do harm to.
pub(super) struct Scene {
    stack: Stack,
    /// A subscription that belongs to no merchant.
    subscriber: Subscriber,
    /// A notification of that subscription.
    notification: String,
    /// A recharge of the merchant `account-service`.
    tx_no: String,
}

impl Scene {
    async fn set(footing: Footing) -> Self {
        let stack = Stack::start(footing).await;
        stack.open_account(ACCOUNT).await;
        let subscriber = stack.subscribe("all", &["*"], json!({})).await;
        let tx_no = crate::harness::text(&stack.recharge(ACCOUNT, 100).await["tx_no"]);
        stack.until_notification(&stack.account_subscription, &tx_no, "delivered").await;
        let notification = stack.until_notification(&subscriber.id, &tx_no, "delivered").await;
        let notification = crate::harness::text(&notification["id"]);
        let order = json!({ "merchant_order_no": "taken", "account_no": "till-7", "amount": 5 });
        stack.pay.with_key(SHOP_KEY).post("/v1/recharges", &order).await.expect(201);
        Self { stack, subscriber, notification, tx_no }
    }

    async fn refuses(mut self, service: Service, cases: fn(&Self) -> Vec<Case>) {
        self.until_quiet().await;
        let before = self.everything().await;
        let api = self.stack.api(service);
        for case in cases(&self) {
            let lines = self.log_lines(service);
            let answer = case.send(&api).await;
            case.judge(&answer);
            let logged = &self.log_lines(service)[lines.len()..];
            assert_eq!(logged.len(), 1, "{}: one line, not {logged:#?}", case.what);
        }
        assert_eq!(self.everything().await, before, "nothing has changed");
    }

    /// The second recharge has nobody to credit; both were told to the operator's subscription.
    async fn until_quiet(&self) {
        self.stack.receiver.wait_for(&self.subscriber.path, 2).await;
        for state in ["pending", "delivering"] {
            let path = format!("/v1/notifications?state={state}");
            crate::harness::eventually("nothing is under way", crate::harness::PATIENCE, async || {
                self.stack.notifier.list(&path).await.is_empty().then_some(())
            })
            .await;
        }
    }

    fn log_lines(&mut self, service: Service) -> Vec<String> {
        self.stack.process(service).log().lines().map(str::to_owned).collect()
    }

    /// All that the services would tell the operator.
    async fn everything(&self) -> Value {
        let Stack { pay, notifier, account, .. } = &self.stack;
        json!({
            "recharges": pay.list("/v1/recharges").await,
            "subscriptions": notifier.list("/v1/subscriptions").await,
            "notifications": notifier.list("/v1/notifications").await,
            "account": account.get(&format!("/v1/accounts/{ACCOUNT}")).await.expect(200),
            "credits": self.stack.credits(ACCOUNT).await,
            "unknown account": account.get("/v1/accounts/62220002").await.status,
        })
    }
}
