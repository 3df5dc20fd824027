//! The reconciliation query, in each of its answers (law 9).

use std::sync::Arc;

use account_service::domain::{CreditSource, Recharge, Status};
use account_service::pay_service::PayService;
use serde_json::json;

use crate::support::database::Database;
use crate::support::pay_service::{client, knowing};
use crate::support::service::World;
use crate::support::{arrival, balance, noon, open_account, paid, tx};

fn path(number: u128) -> String {
    format!("/v1/payresult/{}", tx(number))
}

async fn asking(database: Database, pay_service: impl PayService) -> World {
    let world = World::asking(database, Arc::new(pay_service)).await;
    open_account(&*world.store, "A").await;
    world
}

pub async fn a_credited_recharge_is_answered_here_while_pay_service_is_down(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    world.store.post(&[arrival(paid(tx(1), "A", 100))], noon()).await.expect("the store answers");
    let answer = world.get(&path(1)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let credited = json!({ "tx_no": tx(1), "status": "succeeded", "account_no": "A", "amount": 100, "currency": "CNY",
                           "credited": true, "credited_at": "2026-01-01T12:00:00.123456Z", "source": "ledger" });
    assert_eq!(answer.body, credited);
}

pub async fn a_recharge_that_succeeded_is_credited_once_and_then_answered_here(database: Database) {
    let server = knowing(&[paid(tx(1), "A", 100)]).await;
    let world = asking(database, client(&server.uri())).await;
    let path = path(1);
    let (first, second) = tokio::join!(world.get(&path), world.get(&path));
    for answer in [first, second] {
        assert_eq!((answer.status, &answer.body["credited"]), (200, &json!(true)), "{answer:?}");
        assert_eq!(answer.body["credited_at"], "2026-01-01T00:00:00Z");
    }
    drop(server);
    let third = world.get(&path).await;
    assert_eq!((third.status, &third.body["source"]), (200, &json!("ledger")), "{third:?}");
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 0]);
    let credit = world.store.credit(tx(1)).await.expect("the store answers").expect("a credit");
    assert_eq!((credit.source, credit.event_id), (CreditSource::Query, None));
}

pub async fn a_recharge_without_result_is_answered_and_not_credited(database: Database) {
    let statuses = [Status::Pending, Status::Failed, Status::Closed];
    let recharges = [1, 2, 3].map(|number| {
        let status = statuses[usize::try_from(number - 1).expect("small")];
        Recharge { status, ..paid(tx(number), "A", 100) }
    });
    let server = knowing(&recharges).await;
    let world = asking(database, client(&server.uri())).await;
    for recharge in &recharges {
        let answer = world.get(&format!("/v1/payresult/{}", recharge.tx_no)).await;
        let expected = json!({ "tx_no": recharge.tx_no, "status": recharge.status.as_str(), "account_no": "A",
                               "amount": 100, "currency": "CNY", "credited": false, "credited_at": null,
                               "source": "pay-service" });
        assert_eq!((answer.status, answer.body), (200, expected));
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
}

pub async fn a_recharge_nobody_knows_is_not_found(database: Database) {
    let server = knowing(&[]).await;
    let world = asking(database, client(&server.uri())).await;
    let answer = world.get(&path(1)).await;
    assert_eq!((answer.status, &*answer.content_type), (404, "application/problem+json"));
    assert_eq!(world.get("/v1/payresult/no-uuid").await.status, 404);
}

pub async fn a_success_that_can_t_be_credited_says_why(database: Database) {
    let server = knowing(&[paid(tx(1), "nobody", 100)]).await;
    let world = asking(database, client(&server.uri())).await;
    let answer = world.get(&path(1)).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("succeeded")), "{answer:?}");
    assert_eq!((&answer.body["credited"], &answer.body["credited_at"]), (&json!(false), &json!(null)));
    assert_eq!(answer.body["refusal"], "there is no such account");
    assert_eq!(balance(&*world.store, "A").await, 0);
}
