//! Exceptions: what does not fit is refused and kept, counted, closed by itself, or decided upon.

use std::slice::from_ref;
use std::sync::Arc;

use account_service::domain::{
    Action, CantResolve, CreditSource, Exception, ExceptionFilter, ExceptionKind, Outcome, Recharge,
    RequestState, Resolve, StateName, Status, Verdict,
};
use account_service::store::Store;
use runtime::Clock;
use runtime::http::Page;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::service::World;
use crate::support::{arrival, as_json, balance, noon, open_account, paid, recorded, tx};

const SUCCEEDED: &str = "recharge.succeeded";
const FIRST_PAGE: Page = Page { limit: 200, after: None };

/// Every exception, oldest first.
async fn all(store: &dyn Store) -> Vec<Exception> {
    let mut all = store.exceptions(ExceptionFilter::default(), FIRST_PAGE).await.expect("the store answers");
    all.reverse();
    all
}

async fn only(store: &dyn Store) -> Exception {
    let mut all = all(store).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

async fn post(store: &dyn Store, recharges: &[Recharge]) -> Vec<Verdict> {
    let arrivals: Vec<_> = recharges.iter().cloned().map(arrival).collect();
    store.post(&arrivals, noon()).await.expect("the store answers")
}

fn decision(action: Action) -> Resolve {
    Resolve { action, by: "operator".into(), reason: "as the bank says".into() }
}

async fn resolve(store: &dyn Store, id: Uuid, action: Action) -> Result<Exception, CantResolve> {
    let resolved = store.resolve(id, &decision(action), noon()).await.expect("the store answers");
    resolved.expect("there is such an exception")
}

pub async fn a_refused_result_is_kept_with_what_is_needed_to_judge_it(database: Database) {
    let world = World::new(database).await;
    let mut told = as_json(&paid(tx(1), "nobody", 100));
    told["attach"] = json!("für dich \u{0} \"x\"");
    let answer = world.notify("event-1", SUCCEEDED, &told).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let listed = world.get("/v1/exceptions?state=open").await;
    let exception = &listed.body["items"][0];
    let now = "2026-01-01T00:00:00Z";
    assert_eq!(
        *exception,
        json!({ "id": exception["id"], "kind": "unknown_account", "state": "open", "tx_no": tx(1),
                "merchant_order_no": format!("order-{}", tx(1)), "source": "webhook", "event_id": "event-1",
                "detail": "there is no such account", "received": told, "contradiction": null,
                "recorded": { "account": null, "request": null, "credit": null },
                "first_seen": now, "last_seen": now, "count": 1, "resolution": null })
    );
    let shown = world.get(&format!("/v1/exceptions/{}", exception["id"].as_str().expect("an id"))).await;
    assert_eq!((shown.status, &shown.body), (200, exception));
    assert_eq!(world.database.totals().await, [0, 0, 0, 0, 0]);
}

pub async fn every_refusal_is_kept_under_its_kind_beside_what_the_books_hold(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    open_account(&*store, "full").await;
    database.falsify_balance("full", i64::MAX - 1).await;
    recorded(&*store, tx(50), 100, noon()).await;
    post(&*store, &[paid(tx(5), "A", 7)]).await;
    let requested = |amount| Recharge { merchant_order_no: tx(50).to_string(), ..paid(tx(3), "A", amount) };
    let refused = [
        paid(tx(1), "nobody", 1),
        Recharge { currency: "USD".parse().expect("a code"), ..paid(tx(2), "A", 1) },
        requested(101),
        paid(tx(4), "full", 2),
        Recharge { status: Status::Failed, ..paid(tx(5), "A", 7) },
    ];
    post(&*store, &refused).await;
    let kept = all(&*store).await;
    let mut kept: Vec<_> =
        kept.iter().map(|e| (e.incident.tx_no.expect("known"), e.incident.kind, &*e.recorded)).collect();
    kept.sort_unstable();
    let kinds: Vec<_> = kept.iter().map(|(_, kind, _)| *kind).collect();
    let expected = [
        ExceptionKind::UnknownAccount,
        ExceptionKind::CurrencyMismatch,
        ExceptionKind::ContradictsRequest,
        ExceptionKind::Overflow,
        ExceptionKind::ContradictsCredit,
    ];
    assert_eq!(kinds, expected);
    let books: Vec<Value> = kept.iter().map(|(.., json)| serde_json::from_str(json).expect("JSON")).collect();
    assert_eq!(books[1]["account"], json!({ "account_no": "A", "currency": "CNY", "balance": 7 }));
    assert_eq!(
        (&books[2]["request"]["amount"], &books[2]["request"]["status"]),
        (&json!(100), &json!("unknown"))
    );
    assert_eq!(books[3]["account"]["balance"], json!(i64::MAX - 1));
    assert_eq!(
        (&books[4]["credit"]["amount"], &books[4]["credit"]["source"]),
        (&json!(7), &json!("webhook"))
    );
}

pub async fn a_repetition_counts_up_and_another_telling_is_kept_beside_the_first(database: Database) {
    let store = database.store().await;
    let first = paid(tx(1), "nobody", 100);
    post(&*store, &[first.clone(), first.clone()]).await;
    post(&*store, from_ref(&first)).await;
    let other = paid(tx(1), "nobody", 101);
    post(&*store, from_ref(&other)).await;
    let exception = only(&*store).await;
    assert_eq!((exception.count, exception.incident.kind), (4, ExceptionKind::UnknownAccount));
    assert_eq!(exception.incident.result, Some(first));
    let contradiction = exception.contradiction.as_deref().expect("kept");
    assert_eq!(serde_json::from_str::<Value>(contradiction).expect("JSON"), as_json(&other));
    open_account(&*store, "nobody").await;
    assert_eq!(resolve(&*store, exception.id, Action::Credit).await, Err(CantResolve::ToldInTwoWays));
    assert!(matches!(post(&*store, &[other]).await[0], Verdict::Credited(_)));
    assert!(only(&*store).await.is_open(), "what was told first was not what is credited");
}

/// The 422 is answered only once the exception is committed.
pub async fn a_refusal_that_can_t_be_kept_is_not_answered_as_one(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let data = as_json(&paid(tx(1), "nobody", 100));
    world.database.break_table("INSERT", "exceptions").await;
    assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 503);
    let both = [arrival(paid(tx(1), "nobody", 100)), arrival(paid(tx(2), "A", 1))];
    world.store.post(&both, noon()).await.expect_err("neither is there");
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
    world.database.mend_table("exceptions").await;
    assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 422);
    assert_eq!(only(&*world.store).await.count, 1);
}

pub async fn an_exception_closes_itself_when_the_retried_result_credits(database: Database) {
    let world = World::new(database).await;
    let data = as_json(&paid(tx(1), "late", 100));
    for _ in 0..2 {
        assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 422);
    }
    open_account(&*world.store, "late").await;
    assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 200);
    let closed = world.get("/v1/exceptions?state=closed").await.body["items"][0].clone();
    assert_eq!((&closed["count"], &closed["resolution"]["by"]), (&json!(2), &json!("account-service")));
    assert_eq!(closed["resolution"]["reason"], "credited, source webhook");
    assert_eq!(balance(&*world.store, "late").await, 100);
    assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 200);
    assert_eq!(world.database.number("SELECT count(*) FROM exceptions").await, 1);
}

pub async fn what_fails_or_is_passed_over_is_no_exception(database: Database) {
    let store = database.store().await;
    let statuses = [Status::Pending, Status::Failed, Status::Closed];
    let untroubled: Vec<_> =
        statuses.map(|status| Recharge { status, ..paid(tx(1), "nobody", 1) }).into_iter().collect();
    assert_eq!(post(&*store, &untroubled).await, [Verdict::Noted, Verdict::Noted, Verdict::Noted]);
    assert!(all(&*store).await.is_empty());
}

pub async fn a_credit_by_hand_is_audited_and_teaches_the_request(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    recorded(&*world.store, tx(50), 100, noon()).await;
    let told = Recharge { merchant_order_no: tx(50).to_string(), ..paid(tx(1), "A", 101) };
    assert_eq!(world.notify("event-7", SUCCEEDED, &as_json(&told)).await.status, 422);
    let path = format!("/v1/exceptions/{}/resolve", only(&*world.store).await.id);
    let answer = world.post(&path, &json!({ "action": "credit", "reason": "the customer paid 1.01" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let resolution =
        json!({ "by": "operator", "reason": "the customer paid 1.01", "at": "2026-01-01T00:00:00Z" });
    assert_eq!((&answer.body["state"], &answer.body["resolution"]), (&json!("credited"), &resolution));
    let credit = world.store.credit(tx(1)).await.expect("the store answers").expect("a credit");
    assert_eq!((credit.source, credit.event_id.as_deref()), (CreditSource::Exception, Some("event-7")));
    assert_eq!((credit.amount.minor_units(), credit.credited_at), (101, world.clock.now()));
    let request = world.store.request(tx(50)).await.expect("the store answers").expect("recorded");
    assert_eq!(request.state, RequestState::Known { tx_no: tx(1), status: Status::Succeeded });
    assert_eq!(world.database.totals().await, [1, 101, 1, 101, 1]);
    assert_eq!(world.notify("event-7", SUCCEEDED, &as_json(&told)).await.status, 200, "credited already");
}

pub async fn a_credit_that_the_books_can_t_take_is_refused_and_changes_nothing(database: Database) {
    let store = database.store().await;
    open_account(&*store, "A").await;
    post(&*store, &[paid(tx(1), "A", 7)]).await;
    open_account(&*store, "full").await;
    database.falsify_balance("full", i64::MAX - 1).await;
    let failed = Recharge { status: Status::Failed, ..paid(tx(1), "A", 7) };
    let dollars = Recharge { currency: "USD".parse().expect("a code"), ..paid(tx(4), "A", 1) };
    let refused = [
        (paid(tx(1), "A", 8), "this tx_no is credited already; if the credit stands, dismiss this"),
        (failed, "nothing was told that could be credited: only a recharge that succeeded can be"),
        (paid(tx(2), "full", 2), "it can't be credited: the balance would become too large"),
        (paid(tx(3), "nobody", 2), "it can't be credited: there is no such account"),
        (dollars, "it can't be credited: the account holds CNY, not this currency"),
    ];
    for (recharge, why) in refused {
        post(&*store, &[recharge]).await;
        let id = all(&*store).await.into_iter().find(Exception::is_open).expect("an open one").id;
        let error = resolve(&*store, id, Action::Credit).await.expect_err(why);
        assert_eq!(error.to_string(), why);
        let dismissed = resolve(&*store, id, Action::Dismiss).await.expect("open");
        assert_eq!(dismissed.state_name(), StateName::Resolved(Outcome::Dismissed));
        let again = resolve(&*store, id, Action::Credit).await;
        assert_eq!(again, Err(CantResolve::Resolved(StateName::Resolved(Outcome::Dismissed))));
    }
    assert_eq!(database.number("SELECT count(*) FROM credits").await, 1);
    assert_eq!(balance(&*store, "A").await, 7);
}

pub async fn what_was_dismissed_stays_dismissed_when_it_comes_again(database: Database) {
    let store = database.store().await;
    let told = paid(tx(1), "nobody", 100);
    post(&*store, from_ref(&told)).await;
    let id = only(&*store).await.id;
    resolve(&*store, id, Action::Dismiss).await.expect("open");
    post(&*store, &[told.clone(), told]).await;
    let exception = only(&*store).await;
    assert_eq!((exception.is_open(), exception.count), (false, 3));
    post(&*store, &[paid(tx(1), "nobody", 101)]).await;
    let open: Vec<bool> = all(&*store).await.iter().map(Exception::is_open).collect();
    assert_eq!(open.iter().filter(|open| **open).count(), 1, "something new is asked anew");
}

/// Operators and results race for the same `tx_no`s: each credits once, and no exception stays open.
pub async fn a_credit_by_hand_posts_once_under_all_races(database: Database) {
    let store = database.store().await;
    for round in 0..10_u128 {
        let account_no = format!("late-{round}");
        let told = paid(tx(round), &account_no, 10);
        post(&*store, from_ref(&told)).await;
        let open = ExceptionFilter { state: Some(StateName::Open), ..ExceptionFilter::default() };
        let id = store.exceptions(open, FIRST_PAGE).await.expect("the store answers")[0].id;
        open_account(&*store, &account_no).await;
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            let (store, told): (Arc<dyn Store>, _) = (store.clone(), told.clone());
            racers.spawn(async move {
                if racer % 2 == 0 {
                    resolve(&*store, id, Action::Credit).await.is_ok()
                } else {
                    matches!(post(&*store, &[told]).await[0], Verdict::Credited(_))
                }
            });
        }
        let credited = racers.join_all().await.into_iter().filter(|credited| *credited).count();
        assert_eq!(credited, 1, "round {round}");
        let exception = store.exception(id).await.expect("the store answers").expect("kept");
        assert!(!exception.is_open(), "{exception:?}");
    }
    assert_eq!(database.totals().await, [10, 100, 10, 100, 0]);
}

/// Whether the account is opened before, after or while the result is refused: once it is credited,
/// nobody is asked about it.
pub async fn an_account_opened_meanwhile_leaves_no_exception_open(database: Database) {
    let store = database.store().await;
    for round in 0..10_u128 {
        let account_no = format!("late-{round}");
        let told = paid(tx(round), &account_no, 10);
        let refuse = async {
            for _ in 0..3 {
                post(&*store, from_ref(&told)).await;
            }
        };
        let credit = async {
            open_account(&*store, &account_no).await;
            let verdict = post(&*store, from_ref(&told)).await.remove(0);
            assert!(matches!(verdict, Verdict::Credited(_) | Verdict::Already(_)), "{verdict:?}");
        };
        tokio::join!(refuse, credit);
        let open = "SELECT count(*) FROM exceptions WHERE state = 'open'";
        assert_eq!(database.number(open).await, 0, "round {round}");
    }
}

/// One that no database could hold as text would otherwise come again for ever.
pub async fn whatever_a_refused_result_holds_can_be_kept(database: Database) {
    let store = database.store().await;
    for (number, order) in [(1, "\0".to_owned()), (2, "x".repeat(60_000)), (3, "\u{202e}é".to_owned())] {
        let recharge = Recharge { merchant_order_no: order, ..paid(tx(number), "nobody", 1) };
        post(&*store, from_ref(&recharge)).await;
        let kept =
            all(&*store).await.into_iter().find(|e| e.incident.tx_no == Some(tx(number))).expect("kept");
        assert_eq!(kept.incident.result, Some(recharge));
    }
}

pub async fn exceptions_are_listed_newest_first_by_state_kind_and_tx_no(database: Database) {
    let world = World::new(database).await;
    let store = &*world.store;
    open_account(store, "A").await;
    for number in 0..5_u8 {
        let at = noon() + chrono::TimeDelta::seconds(number.into());
        store.post(&[arrival(paid(tx(number.into()), "nobody", 1))], at).await.expect("the store answers");
    }
    let dollars = Recharge { currency: "USD".parse().expect("a code"), ..paid(tx(2), "A", 1) };
    let at = noon() + chrono::TimeDelta::seconds(9);
    store.post(&[arrival(dollars)], at).await.expect("the store answers");
    let dismissed = all(store).await[3].id;
    resolve(store, dismissed, Action::Dismiss).await.expect("open");

    let listed = async |query: &str| {
        let answer = world.get(&format!("/v1/exceptions?{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let items = answer.body["items"].as_array().expect("a list").clone();
        let numbers =
            items.iter().map(|item| item["tx_no"].as_str().expect("known").parse().expect("a uuid"));
        (numbers.collect::<Vec<Uuid>>(), answer.body["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(listed("").await.0, [tx(2), tx(4), tx(3), tx(2), tx(1), tx(0)]);
    assert_eq!(listed("state=open").await.0, [tx(2), tx(4), tx(2), tx(1), tx(0)]);
    assert_eq!(listed("state=dismissed").await.0, [tx(3)]);
    assert_eq!(listed("kind=currency_mismatch").await.0, [tx(2)]);
    assert_eq!(listed(&format!("tx_no={}", tx(2))).await.0, [tx(2), tx(2)]);
    assert_eq!(listed("state=open&kind=unknown_account&limit=2").await.0, [tx(4), tx(2)]);
    let (first, cursor) = listed("limit=4").await;
    let (second, end) = listed(&format!("limit=4&cursor={}", cursor.expect("there is more"))).await;
    assert_eq!(([first, second].concat(), end), (listed("").await.0, None));
}
