//! What each service says happened, compared to the last minor unit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::harness::{Stack, Subscriber, text};

/// How long after the last fault everything may take to settle; leases of the dead have to run out.
const QUIET: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// What was paid: account and amount by transaction number.
type Ledger = BTreeMap<String, (String, i64)>;

/// Waits until every result has arrived everywhere, then compares. `at_least` recharges were made.
pub async fn compare(stack: &Stack, accounts: &[String], subscriber: &Subscriber, at_least: u64) {
    let paid = statement(stack).await;
    assert!(paid.len() as u64 >= at_least, "{} recharges succeeded of at least {at_least}", paid.len());
    until_quiet(stack, accounts, subscriber, &paid).await;

    let credited = credits(stack, accounts).await;
    assert_same(&paid, &credited);
    for (account_no, balance) in balances(stack, accounts).await {
        assert_eq!(balance, sum_of(&paid, &account_no), "the balance of {account_no}");
    }
    let events = notifications(stack, &[&subscriber.id, &stack.account_subscription], &paid).await;
    webhooks(stack, subscriber, &events);
}

/// pay-service's statement; every recharge of the stream succeeds at once.
async fn statement(stack: &Stack) -> Ledger {
    let recharges = stack.pay.list("/v1/recharges?merchant=account-service").await;
    let orders: BTreeSet<String> = recharges.iter().map(|one| text(&one["merchant_order_no"])).collect();
    assert_eq!(orders.len(), recharges.len(), "no order number has two recharges");
    let pairs = recharges.iter().map(|recharge| {
        assert_eq!(recharge["status"], "succeeded", "{recharge}");
        (text(&recharge["tx_no"]), (text(&recharge["account_no"]), amount(recharge)))
    });
    pairs.collect()
}

/// Returns also when it does not become quiet in time: the comparison then says what is missing.
async fn until_quiet(stack: &Stack, accounts: &[String], subscriber: &Subscriber, paid: &Ledger) {
    let total: i64 = paid.values().map(|(_, amount)| amount).sum();
    let deadline = Instant::now() + QUIET;
    while Instant::now() < deadline {
        let told = ids(stack, subscriber).len() >= paid.len();
        if told && sum_of_balances(stack, accounts).await >= total && nothing_is_under_way(stack).await {
            return;
        }
        sleep(POLL).await;
    }
}

async fn sum_of_balances(stack: &Stack, accounts: &[String]) -> i64 {
    balances(stack, accounts).await.iter().map(|(_, balance)| balance).sum()
}

async fn nothing_is_under_way(stack: &Stack) -> bool {
    for state in ["pending", "delivering"] {
        let page = stack.notifier.get(&format!("/v1/notifications?state={state}&limit=1")).await.expect(200);
        if page["items"].as_array().is_none_or(|items| !items.is_empty()) {
            return false;
        }
    }
    true
}

async fn credits(stack: &Stack, accounts: &[String]) -> Ledger {
    let mut ledger = Ledger::new();
    for account_no in accounts {
        for credit in stack.credits(account_no).await {
            let tx_no = text(&credit["tx_no"]);
            let twice = ledger.insert(tx_no.clone(), (account_no.clone(), amount(&credit)));
            assert!(twice.is_none(), "{tx_no} is credited twice");
        }
    }
    ledger
}

async fn balances(stack: &Stack, accounts: &[String]) -> Vec<(String, i64)> {
    join_all(accounts.iter().map(async |account_no| (account_no.clone(), stack.balance(account_no).await)))
        .await
}

fn assert_same(paid: &Ledger, credited: &Ledger) {
    let lost: Vec<_> = paid.iter().filter(|(tx_no, _)| !credited.contains_key(*tx_no)).collect();
    assert!(lost.is_empty(), "paid and not credited: {lost:?}");
    let invented: Vec<_> = credited.iter().filter(|(tx_no, _)| !paid.contains_key(*tx_no)).collect();
    assert!(invented.is_empty(), "credited and not paid: {invented:?}");
    assert_eq!(paid, credited, "accounts and amounts");
}

/// One notification for each pair of recharge and subscription, each delivered; returns the events' ids.
async fn notifications(stack: &Stack, subscriptions: &[&String], paid: &Ledger) -> BTreeSet<String> {
    let all = stack.notifier.list("/v1/notifications").await;
    let mut told = BTreeSet::new();
    let mut events = BTreeSet::new();
    for one in &all {
        assert_eq!(one["state"], "delivered", "{one}");
        let which = (text(&one["subject"]), text(&one["subscription_id"]));
        assert!(told.insert(which), "a second notification for the same event and subscription: {one}");
        events.insert(text(&one["event_id"]));
    }
    let expected = paid.keys().flat_map(|tx_no| {
        subscriptions.iter().map(move |subscription| (tx_no.clone(), (*subscription).clone()))
    });
    let missing: Vec<_> = expected.filter(|pair| !told.contains(pair)).collect();
    assert!(missing.is_empty(), "no notification for recharge and subscription: {missing:?}");
    assert_eq!(told.len(), paid.len() * subscriptions.len(), "no notification of anything else");
    assert_eq!(events.len(), paid.len(), "one event per recharge");
    events
}

/// The subscriber heard of every event; what it heard twice was the same to the byte.
fn webhooks(stack: &Stack, subscriber: &Subscriber, events: &BTreeSet<String>) {
    assert_eq!(&ids(stack, subscriber), events);
    let mut bodies = BTreeMap::new();
    for webhook in stack.receiver.received(&subscriber.path) {
        assert!(webhook.is_signed_with(&subscriber.key));
        let first = bodies.entry(webhook.header("webhook-id").to_owned()).or_insert(webhook.body.clone());
        assert_eq!(first, &webhook.body, "byte for byte");
    }
}

fn ids(stack: &Stack, subscriber: &Subscriber) -> BTreeSet<String> {
    let received = stack.receiver.received(&subscriber.path);
    received.iter().map(|webhook| webhook.header("webhook-id").to_owned()).collect()
}

fn sum_of(paid: &Ledger, account_no: &str) -> i64 {
    paid.values().filter(|(account, _)| account == account_no).map(|(_, amount)| amount).sum()
}

fn amount(item: &Value) -> i64 {
    item["amount"].as_i64().expect("an amount is an integer")
}
