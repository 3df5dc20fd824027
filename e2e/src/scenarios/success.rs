//! The story without any mishap.

use serde_json::{Value, json};

use crate::harness::{ACCOUNT_KEY, Footing, SHOP_KEY, Stack, text};

const ACCOUNT: &str = "62220001";

/// From the recharge to the balance, and to a subscriber that verifies what it gets.
pub async fn a_recharge_is_credited_and_its_subscriber_gets_a_signed_webhook(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let ledger = stack.subscribe("ledger", &["recharge.succeeded"], json!({})).await;

    let answer = stack.recharge(ACCOUNT, 1_000).await;
    let tx_no = text(&answer["tx_no"]);
    assert_eq!(answer["status"], "succeeded");
    stack.until_balance(ACCOUNT, 1_000).await;
    let recharge = stack.pay.get(&format!("/v1/payresult/{tx_no}")).await.expect(200);
    let delivered = stack.until_notification(&ledger.id, &tx_no, "delivered").await;

    let webhooks = stack.receiver.received(&ledger.path);
    assert_eq!(webhooks.len(), 1, "one event, one webhook");
    let webhook = &webhooks[0];
    assert!(webhook.is_signed_with(&ledger.key));
    assert_eq!(webhook.method, "POST");
    assert_eq!(webhook.header("content-type"), "application/json");
    assert_eq!(webhook.header("webhook-id"), delivered["event"]["id"]);
    assert!(webhook.header("user-agent").starts_with("Ringback/"), "{}", webhook.header("user-agent"));
    assert_eq!(webhook.header("traceparent").split('-').count(), 4, "{}", webhook.header("traceparent"));
    let body = webhook.json();
    assert_eq!(body["type"], "recharge.succeeded");
    assert_eq!(body["timestamp"], recharge["settled_at"]);
    assert_eq!(body["data"], recharge, "the webhook tells the recharge as the API shows it");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3));

    assert_eq!(delivered["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(delivered["attempts"][0]["http_status"], 200);
    credited_once(&stack, &recharge).await;
}

async fn credited_once(stack: &Stack, recharge: &Value) {
    let credits = stack.credits(ACCOUNT).await;
    assert_eq!(credits.len(), 1);
    for field in ["tx_no", "amount", "currency"] {
        assert_eq!(credits[0][field], recharge[field]);
    }
}

/// A merchant's subscription matches that merchant's events, whatever types it asks for.
pub async fn a_merchant_hears_of_its_own_recharges_only(footing: Footing) {
    let stack = Stack::start(footing).await;
    stack.open_account(ACCOUNT).await;
    let shop = stack.subscribe("shop-events", &["*"], json!({ "merchant": "shop" })).await;

    let foreign = stack.recharge(ACCOUNT, 500).await;
    stack.until_notification(&stack.account_subscription, &text(&foreign["tx_no"]), "delivered").await;
    let order = json!({ "merchant_order_no": "order-1", "account_no": "till-7", "amount": 250 });
    let own = stack.pay.with_key(SHOP_KEY).post("/v1/recharges", &order).await.expect(201);
    stack.until_notification(&shop.id, &text(&own["tx_no"]), "delivered").await;

    let webhooks = stack.receiver.received(&shop.path);
    assert_eq!(webhooks.len(), 1);
    assert_eq!(webhooks[0].json()["data"]["tx_no"], own["tx_no"]);
    let path = format!("/v1/payresult/{}", text(&own["tx_no"]));
    stack.pay.with_key(ACCOUNT_KEY).get(&path).await.expect(404);
    let path = format!("/v1/subscriptions/{}", shop.id);
    stack.notifier.with_key(ACCOUNT_KEY).get(&path).await.expect(404);
    stack.notifier.with_key(SHOP_KEY).get(&path).await.expect(200);
}
