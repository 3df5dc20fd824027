//! Requests in the books: what they learn, and what they refuse.

use account_service::domain::{Amount, Contradiction, Recharge, Refusal, RequestState, Status, Verdict};
use account_service::store::Store;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::{arrival, noon, number, open_account, paid, recorded, tx};

fn answer(order: Uuid, tx_no: Uuid, amount: i64, status: Status) -> Recharge {
    Recharge { merchant_order_no: order.to_string(), status, ..paid(tx_no, "A", amount) }
}

async fn state(store: &dyn Store, order: Uuid) -> Option<RequestState> {
    store.request(order).await.expect("the store answers").map(|request| request.state)
}

async fn post(store: &dyn Store, recharge: Recharge) -> Verdict {
    store.post(&[arrival(recharge)], noon()).await.expect("the store answers").remove(0)
}

pub async fn a_request_learns_its_result_and_refuses_what_contradicts_it(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    open_account(&*store, "B").await;
    let request = recorded(&*store, tx(1), 100, noon()).await;
    assert_eq!(store.request(tx(1)).await.expect("the store answers"), Some(request));
    let order = tx(1);
    let right = answer(order, tx(2), 100, Status::Succeeded);
    let contradictions = [
        (Recharge { amount: Amount::new(101).expect("an amount"), ..right.clone() }, "amount"),
        (Recharge { account_no: number("B"), ..right.clone() }, "account_no"),
        (Recharge { currency: "USD".parse().expect("a code"), ..right.clone() }, "currency"),
    ];
    for (recharge, part) in contradictions {
        let refused = Verdict::Refused(Refusal::ContradictsRequest(Contradiction(part)));
        assert_eq!(post(&*store, recharge).await, refused);
    }
    assert_eq!(state(&*store, order).await, Some(RequestState::Unknown));
    assert!(matches!(post(&*store, right).await, Verdict::Credited(_)));
    let known = RequestState::Known { tx_no: tx(2), status: Status::Succeeded };
    assert_eq!(state(&*store, order).await, Some(known));
    let twice = post(&*store, answer(order, tx(3), 100, Status::Succeeded)).await;
    assert_eq!(twice, Verdict::Refused(Refusal::OrderCreditedAlready(tx(2))));
    let failed = post(&*store, answer(order, tx(3), 100, Status::Failed)).await;
    assert_eq!(failed, Verdict::Refused(Refusal::ContradictsRequest(Contradiction("tx_no"))));
    assert_eq!(database.totals().await, [2, 100, 1, 100, 1]);
}

pub async fn a_late_pending_does_not_overwrite_a_result(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    let order = tx(1);
    recorded(&*store, order, 100, noon()).await;
    post(&*store, answer(order, tx(2), 100, Status::Failed)).await;
    let late = answer(order, tx(2), 100, Status::Pending);
    store.note_answer(order, &late, noon()).await.expect("the store answers").expect("no contradiction");
    let failed = RequestState::Known { tx_no: tx(2), status: Status::Failed };
    assert_eq!(state(&*store, order).await, Some(failed));
    let refused = post(&*store, answer(order, tx(2), 100, Status::Succeeded)).await;
    assert_eq!(refused, Verdict::Refused(Refusal::ContradictsRequest(Contradiction("status"))));
    assert_eq!(database.totals().await, [1, 0, 0, 0, 1]);
}

pub async fn a_withdrawn_request_is_gone_unless_something_was_heard_of_it(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    for order in [tx(1), tx(2)] {
        recorded(&*store, order, 100, noon()).await;
    }
    let pending = answer(tx(2), tx(20), 100, Status::Pending);
    store.note_answer(tx(2), &pending, noon()).await.expect("the store answers").expect("no contradiction");
    for order in [tx(1), tx(2)] {
        store.withdraw_request(order).await.expect("the store answers");
    }
    assert_eq!(state(&*store, tx(1)).await, None);
    assert!(state(&*store, tx(2)).await.is_some());
}

pub async fn two_requests_never_share_a_tx_no(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    for order in [tx(1), tx(2)] {
        recorded(&*store, order, 100, noon()).await;
    }
    let first = answer(tx(1), tx(9), 100, Status::Pending);
    store.note_answer(tx(1), &first, noon()).await.expect("the store answers").expect("no contradiction");
    let second = answer(tx(2), tx(9), 100, Status::Succeeded);
    let noted = store.note_answer(tx(2), &second, noon()).await.expect("the store answers");
    assert_eq!(noted, Err(Contradiction("tx_no")));
    let refused = Verdict::Refused(Refusal::ContradictsRequest(Contradiction("merchant_order_no")));
    assert_eq!(post(&*store, second).await, refused);
    assert_eq!(database.totals().await, [1, 0, 0, 0, 2]);
}
