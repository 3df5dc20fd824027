//! Reconciliation of periods: pay-service's statement against the credits here.

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::{Arrival, Recharge, Request, Status, Stretch};
use account_service::pay_service::{
    Answer, NotCreated, PayService, StatementPage, StatementQuery, Unanswered,
};
use account_service::store::Store;
use async_trait::async_trait;
use chrono::TimeDelta;
use runtime::Clock;
use runtime::background::Progress;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::scripted::Scripted;
use crate::support::service::World;
use crate::support::{MERCHANT, arrival, noon, number, open_account, paid, tx};

/// The day of every `tx(n)`.
pub fn day() -> Value {
    json!({ "from": "2024-06-10T00:00:00Z", "to": "2024-06-11T00:00:00Z" })
}

pub(super) async fn world(database: Database, pay_service: impl PayService) -> World {
    let world = World::asking(database, Arc::new(pay_service)).await;
    for account_no in ["A", "B"] {
        open_account(&*world.store, account_no).await;
    }
    world
}

/// Begins a reconciliation; its path.
pub(super) async fn begin(world: &World) -> String {
    let begun = world.post("/v1/reconciliations", &day()).await;
    assert_eq!((begun.status, &begun.body["state"]), (202, &json!("running")), "{begun:?}");
    format!("/v1/reconciliations/{}", begun.body["id"].as_str().expect("an id"))
}

/// Begins one, and goes on until nothing is due.
pub(super) async fn walked(world: &World) -> String {
    let path = begin(world).await;
    world.reconcile().await;
    path
}

pub(super) async fn show(world: &World, path: &str) -> Value {
    let answer = world.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

pub(super) async fn items(world: &World, path: &str) -> Vec<Value> {
    show(world, path).await["items"].as_array().expect("a list").clone()
}

/// Kinds by number of what it has found, all pages of it.
pub(super) async fn found(world: &World, path: &str) -> Vec<(Uuid, String)> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = show(world, &format!("{path}/differences?limit=200{cursor}")).await;
        for item in page["items"].as_array().expect("a list") {
            let tx_no = item["tx_no"].as_str().expect("a number").parse().expect("a number");
            all.push((tx_no, item["kind"].as_str().expect("a kind").to_owned()));
        }
        let Some(next) = page["next_cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

pub(super) fn difference(number: u128, kind: &str) -> (Uuid, String) {
    (tx(number), kind.to_owned())
}

async fn credit(world: &World, recharges: &[Recharge]) {
    let arrivals: Vec<Arrival> = recharges.iter().cloned().map(arrival).collect();
    world.store.post(&arrivals, noon()).await.expect("the store answers");
}

fn in_status(number: u128, status: Status) -> Recharge {
    Recharge { status, ..paid(tx(number), "A", 100) }
}

pub async fn every_kind_of_difference_is_found_and_put_right_where_it_can_be(database: Database) {
    let usd = Recharge { currency: "USD".parse().expect("a code"), ..paid(tx(9), "A", 100) };
    let there = [
        paid(tx(1), "A", 100),
        paid(tx(2), "A", 100),
        paid(tx(3), "nobody", 100),
        in_status(4, Status::Pending),
        in_status(5, Status::Failed),
        in_status(6, Status::Closed),
        paid(tx(8), "B", 100),
        usd,
        paid(tx(10), "A", 101),
        in_status(11, Status::Failed),
        in_status(12, Status::Pending),
    ];
    let world = world(database, Scripted::knowing(&there)).await;
    let here: Vec<Recharge> = [1, 4, 5, 6, 7, 8, 9, 10].map(|n| paid(tx(n), "A", 100)).into();
    credit(&world, &here).await;
    let path = walked(&world).await;
    let expected = [
        (2, "missing_here", None),
        (3, "refused", Some("unknown_account")),
        (4, "not_succeeded_there", Some("contradicts_credit")),
        (5, "not_succeeded_there", Some("contradicts_credit")),
        (6, "not_succeeded_there", Some("contradicts_credit")),
        (7, "not_there", Some("not_at_pay_service")),
        (8, "account_differs", Some("contradicts_credit")),
        (9, "currency_differs", Some("contradicts_credit")),
        (10, "amount_differs", Some("contradicts_credit")),
    ];
    let differences = items(&world, &format!("{path}/differences")).await;
    assert_eq!(differences.len(), expected.len(), "{differences:?}");
    for (difference, (number, kind, exception)) in differences.iter().zip(expected) {
        assert_eq!((&difference["tx_no"], &difference["kind"]), (&json!(tx(number)), &json!(kind)));
        let kept = items(&world, &format!("/v1/exceptions?tx_no={}", tx(number))).await;
        assert_eq!(kept.len(), usize::from(exception.is_some()), "{number}: {kept:?}");
        if let Some(kept) = kept.first() {
            let seen = (&kept["kind"], &kept["source"], &kept["state"], &kept["count"]);
            assert_eq!(seen, (&json!(exception), &json!("statement"), &json!("open"), &json!(1)), "{kept}");
        }
        assert_eq!(difference["exception_id"], kept.first().map_or(json!(null), |kept| kept["id"].clone()));
    }
    let [missing, refused, not_there, amount] = [0, 1, 5, 8].map(|place: usize| &differences[place]);
    assert_eq!((&missing["there"]["amount"], &missing["here"]["source"]), (&json!(100), &json!("statement")));
    assert_eq!((&refused["here"], &refused["detail"]), (&json!(null), &json!("there is no such account")));
    assert_eq!((&not_there["there"], &not_there["here"]["account_no"]), (&json!(null), &json!("A")));
    assert_eq!((&amount["there"]["amount"], &amount["here"]["amount"]), (&json!(101), &json!(100)));
    let run = show(&world, &path).await;
    let sum = |count: u64, amount: u64| json!({ "count": count, "amount": amount });
    let totals = json!([
        { "currency": "CNY", "there": sum(5, 501), "here": sum(8, 800), "credited": sum(1, 100) },
        { "currency": "USD", "there": sum(1, 100), "here": sum(0, 0), "credited": sum(0, 0) },
    ]);
    assert_eq!((&run["state"], &run["totals"]), (&json!("finished"), &totals));
    let counts = json!({
        "missing_here": 1, "refused": 1, "order_credited_already": 0, "not_succeeded_there": 3, "not_there": 1, "account_differs": 1,
        "currency_differs": 1, "amount_differs": 1,
    });
    assert_eq!(run["differences"], counts);
    let progress = json!({ "compared_to": "2024-06-11T00:00:00Z", "pages": 1, "recharges": 11 });
    assert_eq!(
        (&run["progress"], &run["asked_by"], &run["origin"]),
        (&progress, &json!("operator"), &json!("asked"))
    );
    assert_eq!((&run["last_error"], &run["next_at"]), (&json!(null), &json!(null)));
    assert!(run["finished_at"].is_string());
    assert_eq!(world.database.totals().await, [2, 900, 9, 900, 0]);
    let shown = world.get("/metrics").await.body.as_str().expect("text").to_owned();
    for line in [
        "ringback_reconciliation_differences_total{kind=\"not_succeeded_there\"} 3",
        "ringback_recharge_results_total{source=\"statement\",verdict=\"credited\"} 1",
        "ringback_pay_service_calls_total{call=\"statement\",outcome=\"answered\"} 1",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

pub async fn a_second_walk_credits_nothing_again_and_asks_nobody_anew(database: Database) {
    let pay = Scripted::knowing(&[
        paid(tx(1), "A", 100),
        paid(tx(2), "nobody", 100),
        in_status(3, Status::Pending),
    ]);
    let world = world(database, pay.clone()).await;
    credit(&world, &[paid(tx(3), "A", 100), paid(tx(4), "A", 100)]).await;
    let first = walked(&world).await;
    let second = walked(&world).await;
    let stay = [difference(2, "refused"), difference(3, "not_succeeded_there"), difference(4, "not_there")];
    assert_eq!(found(&world, &first).await, [&[difference(1, "missing_here")], &stay[..]].concat());
    assert_eq!(found(&world, &second).await, stay);
    assert_eq!(show(&world, &second).await["totals"][0]["here"]["count"], 3);
    let kept = items(&world, "/v1/exceptions").await;
    assert!(kept.iter().all(|kept| kept["count"] == 2), "{kept:?}");
    let ids = |differences: Vec<Value>| {
        differences.into_iter().map(|d| d["exception_id"].clone()).collect::<Vec<_>>()
    };
    let again = ids(items(&world, &format!("{second}/differences")).await);
    assert_eq!(ids(items(&world, &format!("{first}/differences")).await)[1..], again);
    pay.books().recharges.extend([(tx(2), paid(tx(2), "A", 100)), (tx(3), in_status(3, Status::Succeeded))]);
    pay.books().recharges.insert(tx(4), paid(tx(4), "A", 100));
    let third = walked(&world).await;
    assert_eq!(found(&world, &third).await, [difference(2, "missing_here")]);
    let state = |kind: &str| kept.iter().find(|kept| kept["kind"] == kind).map(|kept| kept["id"].clone());
    let gone = state("not_at_pay_service").expect("it was kept");
    let gone = show(&world, &format!("/v1/exceptions/{}", gone.as_str().expect("an id"))).await;
    assert_eq!(
        (&gone["state"], &gone["resolution"]["reason"]),
        (&json!("closed"), &json!("told by pay-service, source statement"))
    );
    assert_eq!(world.database.totals().await, [2, 400, 4, 400, 0]);
}

/// Recharges of the numbers, and what of them is credited: all but every tenth.
fn many(numbers: std::ops::Range<u128>) -> (Vec<Recharge>, Vec<Recharge>) {
    let there: Vec<Recharge> = numbers.map(|n| paid(tx(n), "A", 100)).collect();
    let here =
        there.iter().enumerate().filter(|(place, _)| place % 10 != 0).map(|(_, r)| r.clone()).collect();
    (there, here)
}

async fn assert_walked_exactly(world: &World, path: &str, there: usize) {
    let run = show(world, path).await;
    assert_eq!(run["state"], "finished", "{run}");
    let (here, missing) = (there - there.div_ceil(10), there.div_ceil(10));
    let total = &run["totals"][0];
    let counts = [&total["there"]["count"], &total["here"]["count"], &total["credited"]["count"]];
    assert_eq!(counts, [&json!(there), &json!(here), &json!(missing)], "{run}");
    assert_eq!(run["progress"]["recharges"], there);
    assert_eq!(run["differences"]["missing_here"], missing);
    let expected: Vec<_> = (0..there as u128).step_by(10).map(|n| difference(n, "missing_here")).collect();
    assert_eq!(found(world, path).await, expected);
    let sum = 100 * i64::try_from(there).expect("few");
    assert_eq!(world.database.totals().await, [2, sum, sum / 100, sum, 0]);
}

pub async fn a_walk_survives_restarts_and_crashes_between_any_two_steps(database: Database) {
    let (there, here) = many(0..1050);
    let pay = Scripted::knowing(&there);
    let world = world(database, pay.clone()).await;
    credit(&world, &here).await;
    let path = begin(&world).await;
    for step in 0_u64..20 {
        let mut process = world.another(step + 10, Arc::new(pay.clone())).reconciliations;
        let table = ["reconciliations", "credits", "reconciliation_differences"]
            [usize::try_from(step % 3).expect("small")];
        let event = if table == "reconciliations" { "UPDATE" } else { "INSERT" };
        if step % 2 == 0 {
            let claimed = if event == "UPDATE" { "NEW.pages > 0" } else { "true" };
            world.database.break_rows(event, table, claimed).await;
            // Its lease is left behind by the process that stumbled.
            assert!(process.run_once().await.is_err() || show(&world, &path).await["state"] == "finished");
            world.database.mend_table(table).await;
            world.clock.advance(Duration::from_mins(5));
        } else {
            process.run_once().await.expect("the round succeeds");
            let pages = show(&world, &path).await["progress"]["pages"].as_u64().expect("a number");
            assert_eq!(pages, (step + 1).div_euclid(2).min(6));
        }
    }
    assert_walked_exactly(&world, &path, 1050).await;
}

pub async fn processes_share_the_walks_and_each_page_counts_once(database: Database) {
    let (there, here) = many(0..850);
    let pay = Scripted::knowing(&there);
    let world = Arc::new(world(database, pay.clone()).await);
    credit(&world, &here).await;
    let (first, second) = (begin(&world).await, begin(&world).await);
    let mut processes = JoinSet::new();
    for seed in 10..14 {
        let mut process = world.another(seed, Arc::new(pay.clone())).reconciliations;
        processes.spawn(async move {
            while process.run_once().await.expect("the round succeeds") == Progress::More {}
        });
    }
    processes.join_all().await;
    world.reconcile().await;
    let counted =
        |run: &Value| ["missing_here"].map(|kind| run["differences"][kind].as_u64().expect("a number"));
    let runs = [show(&world, &first).await, show(&world, &second).await];
    assert_eq!(counted(&runs[0])[0] + counted(&runs[1])[0], 85, "each is credited by one of the two");
    for run in runs {
        assert_eq!((&run["state"], &run["progress"]["recharges"]), (&json!("finished"), &json!(850)));
        assert_eq!(run["totals"][0]["there"]["count"], 850);
        let here = run["totals"][0]["here"]["count"].as_u64().expect("a number");
        assert_eq!(here + counted(&run)[0], 850);
    }
    assert_eq!(world.database.totals().await, [2, 85_000, 850, 85_000, 0]);
}

pub async fn a_process_that_lost_its_lease_changes_nothing(database: Database) {
    let world = world(database, Scripted::knowing(&[paid(tx(1), "A", 100)])).await;
    let path = begin(&world).await;
    let now = world.clock.now();
    let claimed = world.store.claim_reconciliation(tx(77), now, now + Duration::from_mins(2)).await;
    let walk = claimed.expect("the store answers").expect("it is due");
    assert_eq!(world.store.claim_reconciliation(tx(78), now, now).await.expect("the store answers"), None);
    world.reconcile().await;
    assert_eq!(show(&world, &path).await["progress"]["pages"], 0, "it is under a live lease");
    world.clock.advance(Duration::from_mins(3));
    world.reconcile().await;
    let before = show(&world, &path).await;
    let late = Stretch { there: Vec::new(), here: Vec::new(), last: None };
    let kept = world.store.keep_stretch(tx(77), walk.id, &late, now).await.expect("the store answers");
    assert_eq!(kept, None);
    let mut put_off = walk.clone();
    put_off.put_off("late".into(), now, 0.5);
    world.store.put_off_reconciliation(tx(77), &put_off).await.expect("the store answers");
    assert_eq!(show(&world, &path).await, before);
    assert_eq!(before["state"], "finished");
}

/// Both sides are bounded by themselves: nothing is known of where the other one has its rows.
pub async fn a_side_that_is_empty_or_far_away_is_walked_along_in_pages(database: Database) {
    let (theirs, ours) = (1000..1450_u128, 2000..2450_u128);
    let there: Vec<Recharge> = theirs.clone().map(|n| paid(tx(n), "A", 100)).collect();
    let world = world(database, Scripted::knowing(&there)).await;
    credit(&world, &ours.clone().map(|n| paid(tx(n), "A", 100)).collect::<Vec<_>>()).await;
    let path = walked(&world).await;
    let expected: Vec<_> = theirs
        .map(|n| difference(n, "missing_here"))
        .chain(ours.map(|n| difference(n, "not_there")))
        .collect();
    assert_eq!(found(&world, &path).await, expected);
    let by_kind = items(&world, &format!("{path}/differences?kind=not_there&limit=200")).await;
    assert_eq!((by_kind.len(), &by_kind[0]["tx_no"]), (200, &json!(tx(2000))));
    assert!(show(&world, &path).await["progress"]["pages"].as_u64() >= Some(5));
}

/// While the statement is under way, one of its pending recharges succeeds and is credited, and one
/// that succeeded is credited as well.
struct Meanwhile {
    pay: Scripted,
    store: Arc<dyn Store>,
}

#[async_trait]
impl PayService for Meanwhile {
    async fn create(&self, request: &Request) -> Result<Answer, NotCreated> {
        self.pay.create(request).await
    }

    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        self.pay.payresult(tx_no).await
    }

    async fn payresult_of_order(&self, order: Uuid) -> Result<Option<Answer>, Unanswered> {
        self.pay.payresult_of_order(order).await
    }

    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered> {
        let page = self.pay.statement(query).await;
        let told = [1, 2, 4].map(|n| arrival(paid(tx(n), "A", 100)));
        self.store.post(&told, noon()).await.expect("the store answers");
        page
    }
}

pub async fn what_is_credited_while_the_statement_is_read_is_no_difference(database: Database) {
    let pay =
        Scripted::knowing(&[in_status(1, Status::Pending), paid(tx(2), "A", 100), paid(tx(3), "A", 100)]);
    let store = database.store().await;
    let world = world(database, Meanwhile { pay, store }).await;
    let path = walked(&world).await;
    assert_eq!(found(&world, &path).await, [difference(3, "missing_here")]);
    let total = show(&world, &path).await["totals"][0].clone();
    let counts = [&total["there"]["count"], &total["here"]["count"], &total["credited"]["count"]];
    assert_eq!(counts, [2, 1, 1], "the statement holds no success of the first and the last yet");
    assert!(items(&world, "/v1/exceptions").await.is_empty());
    assert_eq!(world.database.totals().await, [2, 400, 4, 400, 0]);
}

pub async fn its_progress_can_be_watched_and_reports_are_kept_newest_first(database: Database) {
    let (there, _) = many(0..500);
    let world = world(database, Scripted::knowing(&there)).await;
    let first = begin(&world).await;
    world.reconciliations.lock().await.run_once().await.expect("the round succeeds");
    let run = show(&world, &first).await;
    let progress = json!({ "compared_to": "2024-06-10T02:35:18.400Z", "pages": 1, "recharges": 200 });
    assert_eq!((&run["state"], &run["progress"]), (&json!("running"), &progress));
    assert!(run["next_at"].is_string());
    world.clock.advance(Duration::from_secs(1));
    let second = begin(&world).await;
    let listed = show(&world, "/v1/reconciliations?limit=1").await;
    assert!(second.ends_with(listed["items"][0]["id"].as_str().expect("an id")));
    let next = listed["next_cursor"].as_str().expect("there is more");
    let rest = items(&world, &format!("/v1/reconciliations?cursor={next}")).await;
    assert_eq!(rest, [show(&world, &first).await]);
}

pub async fn only_so_many_are_under_way(database: Database) {
    let world = world(database, Scripted::default()).await;
    for _ in 0..32 {
        begin(&world).await;
    }
    let refused = world.post("/v1/reconciliations", &day()).await;
    assert_eq!((refused.status, &*refused.content_type), (409, "application/problem+json"));
    let path = items(&world, "/v1/reconciliations?limit=1").await[0]["id"].clone();
    let path = format!("/v1/reconciliations/{}/cancel", path.as_str().expect("an id"));
    assert_eq!(world.post(&path, &json!({})).await.status, 200);
    begin(&world).await;
    assert_eq!(world.post("/v1/reconciliations", &day()).await.status, 409);
    world.reconcile().await;
    begin(&world).await;
}

/// A request that nothing was heard of learns its result from the statement, too.
pub async fn a_request_is_settled_by_the_statement(database: Database) {
    use crate::support::recorded;
    let told = |order: u128, status: Status| Recharge {
        merchant_order_no: tx(order).to_string(),
        ..in_status(order + 500, status)
    };
    let other = Recharge { account_no: number("B"), ..told(3, Status::Succeeded) };
    let pay = Scripted::knowing(&[told(1, Status::Succeeded), told(2, Status::Failed), other]);
    let world = world(database, pay).await;
    for order in 1..=3 {
        recorded(&*world.store, tx(order), 100, noon()).await;
    }
    let path = walked(&world).await;
    assert_eq!(found(&world, &path).await, [difference(501, "missing_here"), difference(503, "refused")]);
    let mut statuses = Vec::new();
    for order in 1..=3 {
        let request = world.store.request(tx(order)).await.expect("the store answers").expect("recorded");
        statuses.push(request.state.as_str());
    }
    assert_eq!(statuses, ["succeeded", "failed", "unknown"]);
    let refused = items(&world, "/v1/exceptions").await;
    assert_eq!((refused.len(), &refused[0]["kind"]), (1, &json!("contradicts_request")));
    assert_eq!(refused[0]["received"]["merchant"], MERCHANT);
}

pub async fn each_day_is_reconciled_once_by_itself_whoever_begins_it(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    world.clock.advance(Duration::from_hours(3));
    let today = world.clock.now();
    let mut processes: Vec<_> = (10..13).map(|seed| world.nightly(seed, Arc::new(pay.clone()))).collect();
    for days in 0..3 {
        for process in &mut processes {
            while process.run_once().await.expect("the round succeeds") == Progress::More {}
        }
        let all = items(&world, "/v1/reconciliations").await;
        assert_eq!(all.len(), days + 1, "{all:?}");
        world.clock.advance(Duration::from_hours(24));
    }
    // A process that starts later begins the day that none was there for, and knows what others have begun.
    let mut late = world.nightly(13, Arc::new(pay.clone()));
    world.clock.advance(Duration::from_hours(24));
    while late.run_once().await.expect("the round succeeds") == Progress::More {}
    let all = items(&world, "/v1/reconciliations").await;
    assert_eq!(all.len(), 5, "the day that no process was there for is among them: {all:?}");
    assert!(all.iter().all(|run| run["state"] == "finished" && run["origin"] == "nightly"));
    assert!(all.iter().all(|run| run["asked_by"] == "account-service"));
    let midnight = |days: u64| {
        let day = (today + Duration::from_hours(24 * days)).date_naive();
        json!(format!("{day}T00:00:00Z"))
    };
    assert_eq!((&all[4]["from"], &all[4]["to"]), (&json!("2025-12-31T00:00:00Z"), &midnight(0)));
    assert_eq!((&all[3]["from"], &all[3]["to"]), (&midnight(0), &midnight(1)));
    assert_eq!(world.database.number("SELECT count(*) FROM reconciliation_differences").await, 0);
}

/// Each day is begun once, so not by a clock that may be ahead.
pub async fn no_day_is_begun_by_a_clock_that_is_in_doubt(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    world.clock.expect_since(world.clock.now() - TimeDelta::days(100), TimeDelta::hours(1));
    let mut process = world.nightly(10, Arc::new(pay.clone()));
    while process.run_once().await.expect("the round succeeds") == Progress::More {}
    assert_eq!(items(&world, "/v1/reconciliations").await.len(), 0);
    world.clock.advance(Duration::from_hours(1));
    while process.run_once().await.expect("the round succeeds") == Progress::More {}
    assert_eq!(items(&world, "/v1/reconciliations").await.len(), 1);
}
