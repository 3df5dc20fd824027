//! An order is credited once, under whichever `tx_no`: after pay-service was restored from an older
//! backup, a repeated order gets a second one.

use std::slice::from_ref;
use std::sync::Arc;

use account_service::domain::{
    Action, CantResolve, CreditSource, Exception, ExceptionFilter, ExceptionKind, Recharge, Refusal, Resolve,
    Status, Verdict,
};
use account_service::store::Store;
use runtime::Clock;
use runtime::http::Page;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::statement::{difference, found, items, walked};
use crate::support::database::Database;
use crate::support::queue::WithQueue;
use crate::support::scripted::Scripted;
use crate::support::service::World;
use crate::support::{arrival, as_json, balance, noon, number, open_account, paid, recorded, tx};

const ALL: Page = Page { limit: 200, after: None };

/// A success of the order `order` for account `A`, under this `tx_no`.
fn of_order(tx_no: u128, order: &str) -> Recharge {
    Recharge { merchant_order_no: order.into(), ..paid(tx(tx_no), "A", 100) }
}

async fn post(store: &dyn Store, recharges: &[Recharge]) -> Vec<Verdict> {
    let arrivals: Vec<_> = recharges.iter().cloned().map(arrival).collect();
    store.post(&arrivals, noon()).await.expect("the store answers")
}

async fn exceptions(store: &dyn Store) -> Vec<Exception> {
    store.exceptions(ExceptionFilter::default(), ALL).await.expect("the store answers")
}

fn refused(first: u128) -> Verdict {
    Verdict::Refused(Refusal::OrderCreditedAlready(tx(first)))
}

async fn resolve(store: &dyn Store, id: Uuid, action: Action) -> Result<Exception, CantResolve> {
    let decision = Resolve { action, by: "operator".into(), reason: "both were paid".into() };
    let resolved = store.resolve(id, &decision, noon()).await.expect("the store answers");
    resolved.expect("there is such an exception")
}

/// By webhook, from the queue, asked for, and in the statement; the exception names both `tx_no`s.
pub async fn a_second_tx_no_of_a_credited_order_is_an_exception_on_every_road(database: Database) {
    let again: Vec<Recharge> = (2..=4).map(|n| of_order(n, "o-1")).collect();
    let pay = Scripted::knowing(&again);
    let world = World::asking(database, Arc::new(pay.clone())).await;
    open_account(&*world.store, "A").await;
    assert!(matches!(post(&*world.store, &[of_order(1, "o-1")]).await[0], Verdict::Credited(_)));

    let answer = world.notify("event-2", "recharge.succeeded", &as_json(&again[0])).await;
    assert_eq!((answer.status, &answer.body["errors"][0]["field"]), (422, &json!("data.merchant_order_no")));
    let asked = world.get(&format!("/v1/payresult/{}", tx(3))).await;
    assert_eq!((asked.status, &asked.body["credited"]), (200, &json!(false)), "{asked:?}");
    let detail = format!("its order is credited already, as tx_no {}", tx(1));
    assert_eq!(asked.body["refusal"], json!(detail));
    let path = walked(&world).await;
    let expected = [2, 3, 4].map(|n| difference(n, "order_credited_already"));
    let differences = found(&world, &path).await;
    assert_eq!(differences[1..], expected, "{differences:?}");
    assert_eq!(differences[0], difference(1, "not_there"));

    for (which, source, count) in [(2, "webhook", 2), (3, "query", 2), (4, "statement", 1)] {
        let path = format!("/v1/exceptions?kind=order_credited_already&tx_no={}", tx(which));
        let kept = items(&world, &path).await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        let seen = (&kept[0]["source"], &kept[0]["count"], &kept[0]["state"], &kept[0]["detail"]);
        assert_eq!(seen, (&json!(source), &json!(count), &json!("open"), &json!(detail)));
        let first = &kept[0]["recorded"]["credit"];
        assert_eq!((&first["tx_no"], &first["merchant_order_no"]), (&json!(tx(1)), &json!("o-1")));
    }
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 0]);
}

/// As what contradicts the books is.
pub async fn from_the_queue_a_second_tx_no_of_a_credited_order_is_given_up_at_once(database: Database) {
    let mut queue = WithQueue::new(database).await;
    queue.publish(&[of_order(1, "o-1"), of_order(2, "o-1"), of_order(3, "o-3")]).await;
    let dead = queue.rounds_until_dead(1).await;
    let reason = dead[0].history.reason.clone().expect("a reason");
    assert_eq!(reason, format!("its order is credited already, as tx_no {}", tx(1)));
    assert_eq!(queue.world.database.totals().await, [1, 200, 2, 200, 0]);
    assert!(queue.is_empty().await);
}

/// It asks by order, and is answered with the second `tx_no`.
pub async fn the_sweep_credits_no_second_tx_no_of_an_order(database: Database) {
    let order = tx(50).to_string();
    let world = World::asking(database, Arc::new(Scripted::knowing(&[of_order(2, &order)]))).await;
    open_account(&*world.store, "A").await;
    post(&*world.store, &[of_order(1, &order)]).await;
    recorded(&*world.store, tx(50), 100, world.clock.now()).await;
    world.sweep_after(1).await;
    let kept = exceptions(&*world.store).await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    let seen = (kept[0].incident.kind, kept[0].incident.source);
    assert_eq!(seen, (ExceptionKind::OrderCreditedAlready, CreditSource::Sweep));
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
}

/// account-service asked for the recharge itself, and somebody with its key repeated the order.
pub async fn an_order_made_here_and_repeated_elsewhere_is_credited_once(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    recorded(&*store, tx(50), 100, noon()).await;
    let order = tx(50).to_string();
    assert!(matches!(post(&*store, &[of_order(1, &order)]).await[0], Verdict::Credited(_)));
    assert_eq!(post(&*store, &[of_order(2, &order)]).await, [refused(1)]);
    let other_account = Recharge { account_no: number("nobody"), ..of_order(3, &order) };
    assert_eq!(post(&*store, &[other_account]).await, [refused(1)], "whatever else is wrong with it");
    let request = store.request(tx(50)).await.expect("the store answers").expect("recorded");
    assert_eq!(request.state.tx_no(), Some(tx(1)));
    assert_eq!(database.totals().await, [1, 100, 1, 100, 1]);
}

/// Also when they go to different accounts, so that no account's lock keeps them apart.
pub async fn of_two_tx_nos_of_an_order_in_one_batch_or_in_many_at_once_one_is_credited(database: Database) {
    let store = database.store().await;
    for account_no in ["A", "B", "C", "D"] {
        open_account(&*store, account_no).await;
    }
    let verdicts = post(&*store, &[of_order(1, "o"), of_order(2, "o"), of_order(1, "o")]).await;
    assert!(matches!(verdicts[..], [Verdict::Credited(_), Verdict::Refused(_), Verdict::Already(_)]));
    for round in 1..=10_u128 {
        let mut racers = JoinSet::new();
        for (place, account_no) in ["A", "B", "C", "D"].into_iter().enumerate() {
            let tx_no = tx(100 * round + place as u128);
            let recharge =
                Recharge { merchant_order_no: format!("race-{round}"), ..paid(tx_no, account_no, 100) };
            let store = store.clone();
            racers.spawn(async move { matches!(post(&*store, &[recharge]).await[0], Verdict::Credited(_)) });
        }
        let credited = racers.join_all().await.into_iter().filter(|credited| *credited).count();
        assert_eq!(credited, 1, "round {round}");
    }
    assert_eq!(database.totals().await, [4, 1100, 11, 1100, 0]);
}

/// As it does for a `tx_no`; and a known order number stays as it is.
pub async fn the_database_itself_credits_an_order_once(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    post(&*store, &[of_order(1, "o-1"), of_order(2, "o-2")]).await;
    let again = |despite: &str, source: &str| {
        format!(
            "INSERT INTO credits (tx_no, account_no, amount, currency, source, credited_at, merchant_order_no,
                                  credited_despite)
             SELECT {}, account_no, amount, currency, '{source}', credited_at, merchant_order_no, {despite}
             FROM credits WHERE tx_no = {}",
            database.uuid(tx(3)),
            database.uuid(tx(1))
        )
    };
    assert!(database.refuses(&again("NULL", "webhook")).await);
    assert!(database.refuses(&again(&database.uuid(tx(1)), "webhook")).await, "by hand alone");
    let rename =
        format!("UPDATE credits SET merchant_order_no = 'o-3' WHERE tx_no = {}", database.uuid(tx(1)));
    assert!(database.refuses(&rename).await);
    assert_eq!(database.totals().await, [1, 200, 2, 200, 0]);
    database.execute(&again(&database.uuid(tx(1)), "exception")).await;
    assert_eq!(balance(&*store, "A").await, 300);
}

/// Nothing was paid, so nobody has to judge it.
pub async fn a_result_that_did_not_succeed_is_no_second_credit(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    let in_status = |tx_no, status| Recharge { status, ..of_order(tx_no, "o-1") };
    assert_eq!(post(&*store, &[in_status(1, Status::Failed)]).await, [Verdict::Noted]);
    assert!(matches!(post(&*store, &[of_order(2, "o-1")]).await[0], Verdict::Credited(_)));
    for status in [Status::Pending, Status::Failed, Status::Closed] {
        assert_eq!(post(&*store, &[in_status(3, status)]).await, [Verdict::Noted]);
    }
    assert!(exceptions(&*store).await.is_empty());
    assert_eq!(post(&*store, &[of_order(3, "o-1")]).await, [refused(2)]);
}

/// Only knowingly: the decision names the `tx_no` of the credit that there is.
pub async fn a_second_credit_of_an_order_needs_the_first_to_be_named(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    post(&*world.store, &[of_order(1, "o-1"), of_order(2, "o-1")]).await;
    let kept = exceptions(&*world.store).await.remove(0);
    assert_eq!(kept.incident.kind, ExceptionKind::OrderCreditedAlready);
    let path = format!("/v1/exceptions/{}/resolve", kept.id);
    let decide = async |despite: Value, action: &str| {
        let mut body = json!({ "action": action, "reason": "both were paid" });
        if !despite.is_null() {
            body["despite"] = despite;
        }
        world.post(&path, &body).await
    };
    for despite in [Value::Null, json!(tx(2)), json!(tx(9))] {
        let answer = decide(despite, "credit").await;
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.body["detail"].as_str().is_some_and(|why| why.contains(&tx(1).to_string())));
    }
    let answer = decide(json!(tx(1)), "dismiss").await;
    assert_eq!((answer.status, &answer.body["errors"][0]["field"]), (422, &json!("despite")));
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 0]);

    let answer = decide(json!(tx(1)), "credit").await;
    assert_eq!((answer.status, &answer.body["state"]), (200, &json!("credited")), "{answer:?}");
    let credits = items(&world, "/v1/accounts/A/credits").await;
    let second = credits.iter().find(|credit| credit["tx_no"] == json!(tx(2))).expect("credited");
    assert_eq!(
        (&second["merchant_order_no"], &second["credited_despite"], &second["source"]),
        (&json!("o-1"), &json!(tx(1)), &json!("exception"))
    );
    assert_eq!(post(&*world.store, &[of_order(3, "o-1")]).await, [refused(1)], "the first stays the first");
    assert!(matches!(post(&*world.store, &[of_order(2, "o-1")]).await[0], Verdict::Already(_)));
    assert_eq!(world.database.totals().await, [1, 200, 2, 200, 0]);
}

/// Its exception says nothing of the other credit, so whoever decides about it does not know.
pub async fn what_was_refused_before_its_order_was_credited_is_not_credited_by_mistake(database: Database) {
    let store = database.store().await;
    let late = Recharge { merchant_order_no: "o-1".into(), ..paid(tx(1), "late", 100) };
    post(&*store, from_ref(&late)).await;
    open_account(&*store, "A").await;
    open_account(&*store, "late").await;
    post(&*store, &[of_order(2, "o-1")]).await;
    let kept = exceptions(&*store).await.remove(0);
    assert_eq!(kept.incident.kind, ExceptionKind::UnknownAccount);
    let by_mistake = resolve(&*store, kept.id, Action::Credit).await;
    assert_eq!(by_mistake, Err(CantResolve::OrderCreditedAlready(tx(2))));
    assert_eq!(post(&*store, from_ref(&late)).await, [refused(2)]);
    resolve(&*store, kept.id, Action::CreditDespite(tx(2))).await.expect("knowingly");
    assert!(exceptions(&*store).await.iter().all(|kept| !kept.is_open()), "both are done with");

    let nothing = paid(tx(5), "nobody", 1);
    post(&*store, from_ref(&nothing)).await;
    open_account(&*store, "nobody").await;
    let kept = exceptions(&*store).await.remove(0);
    let despite = resolve(&*store, kept.id, Action::CreditDespite(tx(2))).await;
    assert_eq!(despite, Err(CantResolve::NothingToCreditDespite));
}

/// Forgets the orders of all credits, as an earlier version kept them.
async fn forget_orders(database: &Database) {
    let keep = match database {
        Database::Sqlite(..) => "DROP TRIGGER credits_keep_their_order",
        Database::Postgres(_) => "DROP TRIGGER credits_keep_their_order ON credits",
    };
    database.execute(&format!("{keep}; UPDATE credits SET merchant_order_no = NULL")).await;
}

pub async fn credits_of_an_earlier_version_learn_their_orders_when_their_results_are_received_again(
    database: Database,
) {
    let pay = Scripted::knowing(&[of_order(1, "o-1"), of_order(2, "o-2")]);
    let world = World::asking(database, Arc::new(pay)).await;
    open_account(&*world.store, "A").await;
    post(&*world.store, &[of_order(1, "o-1"), of_order(2, "o-2")]).await;
    forget_orders(&world.database).await;
    assert!(matches!(post(&*world.store, &[of_order(1, "o-1")]).await[0], Verdict::Already(_)));
    assert_eq!(post(&*world.store, &[of_order(3, "o-1")]).await, [refused(1)]);
    walked(&world).await;
    assert_eq!(post(&*world.store, &[of_order(4, "o-2")]).await, [refused(2)], "by the statement");
    assert_eq!(world.database.totals().await, [1, 200, 2, 200, 0]);
}

pub async fn an_order_that_an_earlier_version_credited_twice_is_found(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    post(&*store, &[of_order(1, "o-1"), of_order(2, "o-2")]).await;
    forget_orders(&database).await;
    let told = [of_order(1, "o-1"), of_order(2, "o-1")];
    for _ in 0..2 {
        let verdicts = post(&*store, &told).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Already(_))), "{verdicts:?}");
    }
    let kept = exceptions(&*store).await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    let seen = (kept[0].incident.kind, kept[0].incident.tx_no, kept[0].count, kept[0].incident.source);
    assert_eq!(seen, (ExceptionKind::OrderCreditedAlready, Some(tx(2)), 2, CreditSource::Webhook));
    assert_eq!(resolve(&*store, kept[0].id, Action::Credit).await, Err(CantResolve::CreditedAlready));
    resolve(&*store, kept[0].id, Action::Dismiss).await.expect("open");
    assert_eq!(database.totals().await, [1, 200, 2, 200, 0]);
}

/// Credits with and without a request, an exception and a difference, as version 4 of the schema kept them.
async fn earlier_books(database: &Database) {
    database.migrate_to(4).await;
    let at = database.some_time();
    let [one, two, order, id] = [tx(1), tx(2), tx(50), tx(60)].map(|id| database.uuid(id));
    let rows = [
        format!(
            "accounts (account_no, account_name, currency, created_at) VALUES ('A', 'Zhang San', 'CNY', {at})"
        ),
        format!(
            "credits (tx_no, account_no, amount, currency, source, credited_at)
             VALUES ({one}, 'A', 100, 'CNY', 'webhook', {at}), ({two}, 'A', 100, 'CNY', 'queue', {at})"
        ),
        format!(
            "requests (merchant_order_no, account_no, amount, currency, channel, tx_no, status, created_at,
                       updated_at)
             VALUES ({order}, 'A', 100, 'CNY', 'instant', {one}, 'succeeded', {at}, {at})"
        ),
        format!(
            "exceptions (id, subject, kind, tx_no, source, detail, recorded, first_seen, last_seen, count, state)
             VALUES ({id}, {two}, 'not_at_pay_service', {two}, 'statement', 'not there', '{{}}', {at}, {at}, 3,
                     'open')"
        ),
        format!(
            "reconciliations (id, period_from, period_to, origin, asked_by, asked_at, state, pages, recharges,
                              totals, differences, failures, finished_at)
             VALUES ({id}, {at}, {at}, 'nightly', 'account-service', {at}, 'finished', 1, 0, '{{}}',
                     '{{\"not_there\": 1}}', 0, {at})"
        ),
        format!(
            "reconciliation_differences (reconciliation_id, tx_no, kind, exception_id, found_at)
             VALUES ({id}, {two}, 'not_there', {id}, {at})"
        ),
    ];
    for row in rows {
        database.execute(&format!("INSERT INTO {row}")).await;
    }
}

pub async fn the_books_of_an_earlier_version_are_kept_and_orders_are_taken_from_requests(database: Database) {
    earlier_books(&database).await;
    let store = database.store().await;
    assert_eq!(post(&*store, &[of_order(3, &tx(50).to_string())]).await, [refused(1)]);
    assert!(matches!(post(&*store, &[of_order(2, "o-2")]).await[0], Verdict::Already(_)));
    assert_eq!(post(&*store, &[of_order(4, "o-2")]).await, [refused(2)]);
    let kept = store.exception(tx(60)).await.expect("the store answers").expect("kept");
    assert_eq!((kept.count, kept.is_open()), (3, true));
    let differences = store.differences(tx(60), None, ALL).await.expect("the store answers");
    assert_eq!((differences.len(), differences[0].exception_id), (1, Some(tx(60))));
    assert_eq!(store.standing().await.expect("the store answers").open_differences, 1);
    let again = Recharge { status: Status::Failed, ..of_order(2, "o-2") };
    assert!(matches!(post(&*store, &[again]).await[0], Verdict::Refused(_)), "exceptions are still written");
    assert_eq!(database.totals().await, [1, 200, 2, 200, 1]);
}
