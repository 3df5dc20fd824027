//! What the suites need: a database to break and mend, results to post, a service to call.

pub mod broken_broker;
pub mod database;
pub mod pay_service;
pub mod queue;
pub mod scripted;
pub mod service;

use account_service::domain::{
    AccountNo, Amount, Arrival, CreditSource, Currency, NewAccount, Opened, Recharge, Request, RequestState,
    Status,
};
use account_service::store::Store;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

pub const MERCHANT: &str = "account-service";

pub fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00.123456Z".parse().expect("a time")
}

pub fn number(text: &str) -> AccountNo {
    AccountNo::parse(text).expect("an account number")
}

pub fn tx(number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// A succeeded recharge of `amount` fen for `account_no`, of no request made here.
pub fn paid(tx_no: Uuid, account_no: &str, amount: i64) -> Recharge {
    Recharge {
        tx_no,
        merchant: MERCHANT.into(),
        merchant_order_no: format!("order-{tx_no}"),
        account_no: number(account_no),
        amount: Amount::new(amount).expect("an amount"),
        currency: Currency::CNY,
        status: Status::Succeeded,
    }
}

pub fn arrival(recharge: Recharge) -> Arrival {
    let received = as_json(&recharge).to_string();
    Arrival::new(recharge, CreditSource::Webhook, received).by_event(Some("event-1".into()))
}

/// The recharge as pay-service writes it.
pub fn as_json(recharge: &Recharge) -> Value {
    json!({
        "tx_no": recharge.tx_no, "merchant": recharge.merchant,
        "merchant_order_no": recharge.merchant_order_no, "account_no": recharge.account_no.as_str(),
        "amount": recharge.amount.minor_units(), "currency": recharge.currency.as_str(),
        "channel": "instant", "status": recharge.status.as_str(), "attach": null,
        "created_at": "2026-01-01T00:00:00Z", "settled_at": "2026-01-01T00:00:01Z", "failure": null,
    })
}

pub async fn open_account(store: &dyn Store, account_no: &str) {
    let wish = NewAccount::new(account_no.into(), "Zhang San".into()).expect("a well-formed account");
    let opened = store.open_account(&wish, noon()).await.expect("the store answers");
    assert!(matches!(opened, Opened::Created(_)), "{opened:?}");
}

/// A request of `amount` fen for account `A`, recorded as unknown; the sweep asks from `ask_at` on.
pub async fn recorded(store: &dyn Store, order: Uuid, amount: i64, ask_at: DateTime<Utc>) -> Request {
    let request = Request {
        merchant_order_no: order,
        account_no: number("A"),
        amount: Amount::new(amount).expect("an amount"),
        currency: Currency::CNY,
        channel: "instant".into(),
        attach: Some("ünïcode\n\"quoted\"".into()),
        state: RequestState::Unknown,
        created_at: noon(),
    };
    store.record_request(&request, ask_at).await.expect("the store answers");
    request
}

pub async fn balance(store: &dyn Store, account_no: &str) -> i64 {
    let account = store.account(&number(account_no)).await.expect("the store answers");
    account.expect("the account exists").balance
}
