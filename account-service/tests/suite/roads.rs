//! Law 9 on the roads to pay-service, the statement apart (`statement.rs`): however it fails, that is no
//! result and credits nothing; what it answers wrongly is kept; and the next right answer credits.

use std::sync::Arc;

use account_service::domain::{Recharge, RequestState, Status};
use runtime::Clock;
use runtime::testing::ManualClock;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::pay_service::{WAYS, failing};
use crate::support::scripted::Scripted;
use crate::support::service::World;
use crate::support::{arrival, open_account, paid, recorded, tx};

const LONG: u64 = 1_000_000;

/// What pay-service took for the order `order`.
fn taken(order: Uuid, tx_no: Uuid, status: Status) -> Recharge {
    Recharge { merchant_order_no: order.to_string(), status, ..paid(tx_no, "A", 100) }
}

/// Account `A` and, for each way to fail, a request that pay-service has said is pending: `tx(n)`, which
/// it has given the number `tx(500 + n)`.
async fn prepared(database: &Database, requests: usize) {
    let store = database.store().await;
    for account_no in ["A", "B"] {
        open_account(&*store, account_no).await;
    }
    let now = ManualClock::default().now();
    for number in 0..requests as u128 {
        recorded(&*store, tx(number), 100, now).await;
        let pending = arrival(taken(tx(number), tx(500 + number), Status::Pending));
        store.post(&[pending], now).await.expect("the store answers");
    }
}

async fn world(database: Database, pay_service: impl account_service::pay_service::PayService) -> World {
    World::asking(database, Arc::new(pay_service)).await
}

/// Credits, and Σ balances.
async fn credited(world: &World) -> (i64, i64) {
    let [_, balances, credits, ..] = world.database.totals().await;
    (credits, balances)
}

/// The exceptions of this number: kind, state and source.
async fn kept(world: &World, number: Uuid) -> Vec<[String; 3]> {
    let listed = world.get("/v1/exceptions?limit=200").await.body["items"].clone();
    let part = |item: &Value, field: &str| item[field].as_str().expect("text").to_owned();
    let about = |item: &&Value| [&item["tx_no"], &item["merchant_order_no"]].contains(&&json!(number));
    let found = listed.as_array().expect("a list").iter().filter(about);
    found.map(|item| ["kind", "state", "source"].map(|field| part(item, field))).collect()
}

/// What is expected to be kept of a `kind`. Once the right answer has come, a wrong one is no question
/// any more, nor is one that told the same money; that other money was told remains one.
fn expected(how: &str, kind: Option<&str>, healed: bool, source: &str) -> Vec<[String; 3]> {
    let harmless = kind == Some("wrong_answer") || how == "another order";
    let state = if healed && harmless { "closed" } else { "open" };
    kind.map(|kind| [kind, state, source].map(str::to_owned)).into_iter().collect()
}

pub async fn a_query_that_pay_service_fails_is_told_as_unknown(mut database: Database) {
    prepared(&database, WAYS.len()).await;
    for (way, number) in WAYS.iter().zip(0..) {
        let (how, tx_no) = (way.how, tx(500 + number));
        let right = taken(tx(number), tx_no, Status::Succeeded);
        let path = format!("/v1/payresult/{tx_no}");
        let failing = failing(how, &right).await;
        let unwell = world(database, failing.client.clone()).await;
        let answer = unwell.get(&path).await;
        if way.asked == Some("contradicts_request") {
            assert_eq!((answer.status, &answer.body["credited"]), (200, &json!(false)), "{how}: {answer:?}");
            assert!(answer.body["refusal"].is_string(), "{how}: {answer:?}");
        } else {
            assert_eq!(answer.status, 503, "{how}: {answer:?}");
            assert_eq!(answer.body["type"], "urn:ringback:problem:unavailable", "{how}");
            assert!(answer.retry_after.is_some(), "{how}");
            assert!(!answer.body.to_string().contains("pay-key"), "{how}");
        }
        let before = i64::try_from(number).expect("few");
        assert_eq!(credited(&unwell).await, (before, before * 100), "{how}");
        assert_eq!(kept(&unwell, tx_no).await, expected(how, way.asked, false, "query"), "{how}");
        let well = world(unwell.database, Scripted::knowing(&[right])).await;
        assert_eq!(well.get(&path).await.body["credited"], json!(true), "{how}");
        assert_eq!(kept(&well, tx_no).await, expected(how, way.asked, true, "query"), "{how}");
        database = well.database;
    }
}

/// An outage costs no step of the ladder, a wrong answer costs one. A result that contradicts the
/// request is a person's, and not asked about again.
pub async fn a_sweep_that_pay_service_fails_asks_again(mut database: Database) {
    prepared(&database, 0).await;
    let long_ago = ManualClock::default().now();
    for (way, number) in WAYS.iter().zip(0..) {
        let (how, tx_no) = (way.how, tx(500 + number));
        let right = taken(tx(number), tx_no, Status::Succeeded);
        let failing = failing(how, &right).await;
        let unwell = world(database, failing.client.clone()).await;
        recorded(&*unwell.store, tx(number), 100, long_ago).await;
        let pending = arrival(taken(tx(number), tx_no, Status::Pending));
        unwell.store.post(&[pending], long_ago).await.expect("the store answers");
        unwell.sweep_after(LONG).await;
        let before = i64::try_from(number).expect("few");
        assert_eq!(credited(&unwell).await, (before, before * 100), "{how}");
        let request = unwell.store.request(tx(number)).await.expect("the store answers").expect("recorded");
        assert_eq!(request.state, RequestState::Known { tx_no, status: Status::Pending }, "{how}");
        assert_eq!(kept(&unwell, tx_no).await, expected(how, way.asked, false, "sweep"), "{how}");
        let order = unwell.database.uuid(tx(number));
        let asks = format!("SELECT asks FROM requests WHERE merchant_order_no = {order}");
        assert_eq!(unwell.database.number(&asks).await, i64::from(way.asked.is_some()), "{how}");
        let well = world(unwell.database, Scripted::knowing(&[right])).await;
        well.sweep_after(100 * LONG).await;
        if way.asked == Some("contradicts_request") {
            assert_eq!(credited(&well).await.0, before, "{how}: it is not asked about again");
            well.get(&format!("/v1/payresult/{tx_no}")).await;
        }
        assert_eq!(credited(&well).await, (before + 1, before * 100 + 100), "{how}");
        assert_eq!(kept(&well, tx_no).await, expected(how, way.asked, true, "sweep"), "{how}");
        database = well.database;
    }
}

/// Nobody is told that it failed, and the sweep finds what pay-service has taken after all.
pub async fn a_request_that_pay_service_fails_stays_unknown(mut database: Database) {
    prepared(&database, 0).await;
    for (way, number) in WAYS.iter().filter(|way| way.requested.is_ok()).zip(0..) {
        let (how, tx_no) = (way.how, tx(500 + number));
        let kind = way.requested.expect("filtered");
        let failing = failing(how, &paid(tx_no, "A", 100)).await;
        let unwell = world(database, failing.client.clone()).await;
        // Fresh numbers for each world: their clocks and seeds are the same.
        unwell.clock.advance(std::time::Duration::from_secs(u64::try_from(number).expect("few") + 1));
        let answer = unwell.post("/v1/accounts/A/recharges", &json!({ "amount": 100 })).await;
        assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{how}: {answer:?}");
        let order = answer.named_order();
        let request = unwell.store.request(order).await.expect("the store answers").expect("recorded");
        assert_eq!(request.state, RequestState::Unknown, "{how}");
        let before = i64::try_from(number).expect("few");
        assert_eq!(credited(&unwell).await, (before, before * 100), "{how}");
        assert_eq!(kept(&unwell, order).await, expected(how, kind, false, "request"), "{how}");
        let right = taken(order, tx_no, Status::Succeeded);
        let well = world(unwell.database, Scripted::knowing(&[right])).await;
        well.sweep_after(LONG).await;
        assert_eq!(credited(&well).await, (before + 1, before * 100 + 100), "{how}");
        assert_eq!(kept(&well, order).await, expected(how, kind, true, "request"), "{how}");
        database = well.database;
    }
}
