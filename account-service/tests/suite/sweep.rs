//! The sweep: requests that nothing was heard of are asked about until their result is final.

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::{CreditSource, NextAsk, Recharge, Request, RequestState, Status};
use account_service::pay_service::{
    Answer, NotCreated, PayService, StatementPage, StatementQuery, Unanswered,
};
use account_service::store::{Clamped, Furthest, Place};
use async_trait::async_trait;
use chrono::TimeDelta;
use runtime::Clock;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::pay_service::{answer_payresult, client, knowing, taking};
use crate::support::scripted::Scripted;
use crate::support::service::World;
use crate::support::{arrival, as_json, noon, open_account, paid, recorded, tx};

const LONG: u64 = 1_000_000;

/// The recharge that pay-service took for the order `tx(order)`; its number is `tx(order + 500)`.
fn taken(order: u128, status: Status) -> Recharge {
    Recharge { merchant_order_no: tx(order).to_string(), status, ..paid(tx(order + 500), "A", 100) }
}

/// A world with account `A` and requests of 100 fen under the orders `tx(n)`, due in 30 s.
async fn world(database: Database, pay_service: impl PayService, orders: &[u128]) -> World {
    let world = World::asking(database, Arc::new(pay_service)).await;
    open_account(&*world.store, "A").await;
    for order in orders {
        recorded(&*world.store, tx(*order), 100, world.clock.now() + Duration::from_secs(30)).await;
    }
    world
}

async fn state(world: &World, order: u128) -> RequestState {
    world.store.request(tx(order)).await.expect("the store answers").expect("recorded").state
}

async fn exceptions(world: &World) -> Vec<Value> {
    world.get("/v1/exceptions").await.body["items"].as_array().expect("a list").clone()
}

async fn only_exception(world: &World) -> Value {
    let mut all = exceptions(world).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

pub async fn a_request_that_nothing_was_heard_of_is_asked_about_and_credited_once(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Pending)]);
    let world = world(database, pay.clone(), &[1]).await;
    world.sweep_after(29).await;
    assert!(pay.books().asked.is_empty(), "it is not due yet");
    world.sweep_after(1).await;
    assert_eq!(pay.books().asked, [tx(1).to_string()], "by its own number, since no other is known");
    assert_eq!(state(&world, 1).await, RequestState::Known { tx_no: tx(501), status: Status::Pending });
    pay.books().recharges.insert(tx(501), taken(1, Status::Succeeded));
    world.sweep_after(59).await;
    assert_eq!(pay.books().asked.len(), 1, "the next step is a minute");
    world.sweep_after(1).await;
    assert_eq!(pay.books().asked, [tx(1), tx(501)].map(|number| number.to_string()));
    for _ in 0..3 {
        world.sweep_after(LONG).await;
    }
    assert_eq!(pay.books().asked.len(), 2, "it is credited, so nothing is left to ask");
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
    let credit = world.store.credit(tx(501)).await.expect("the store answers").expect("a credit");
    assert_eq!((credit.source, credit.event_id), (CreditSource::Sweep, None));
    assert!(exceptions(&world).await.is_empty());
}

/// The answer to the request credits nothing, so a request that succeeded at once is swept as well.
pub async fn a_success_that_no_notification_tells_is_credited_by_the_sweep(database: Database) {
    let server = taking(tx(501), "succeeded").await;
    let world = world(database, client(&server.uri()), &[]).await;
    let asked = world.post("/v1/accounts/A/recharges", &json!({ "amount": 100 })).await;
    assert_eq!((asked.status, &asked.body["status"]), (201, &json!("succeeded")));
    let order = asked.body["merchant_order_no"].as_str().expect("text");
    let told = as_json(&Recharge { merchant_order_no: order.into(), ..paid(tx(501), "A", 100) });
    answer_payresult(&server, tx(501), wiremock::ResponseTemplate::new(200).set_body_json(told)).await;
    world.sweep_after(29).await;
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 1]);
    world.sweep_after(1).await;
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
}

/// Both numbers, over HTTP as pay-service speaks it.
/// Its request was answered with `succeeded`, which credits nothing; a replica of pay-service lags behind.
pub async fn a_late_pending_does_not_hide_a_success_that_is_not_credited(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Pending)]);
    let world = world(database, pay.clone(), &[1]).await;
    let told = taken(1, Status::Succeeded);
    let noted = world.store.note_answer(tx(1), &told, world.clock.now()).await.expect("the store answers");
    noted.expect("it is what was asked for");
    world.sweep_after(30).await;
    assert_eq!(state(&world, 1).await, RequestState::Known { tx_no: tx(501), status: Status::Succeeded });
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 1]);
    pay.books().recharges.insert(tx(501), told);
    world.sweep_after(60).await;
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
}

pub async fn a_request_whose_answer_was_lost_is_asked_about_by_its_own_number(database: Database) {
    let server = knowing(&[taken(1, Status::Succeeded), taken(2, Status::Failed)]).await;
    let world = world(database, client(&server.uri()), &[1, 2, 3]).await;
    world.sweep_after(30).await;
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 3]);
    assert_eq!(state(&world, 1).await, RequestState::Known { tx_no: tx(501), status: Status::Succeeded });
    assert_eq!(state(&world, 2).await, RequestState::Known { tx_no: tx(502), status: Status::Failed });
    assert_eq!(state(&world, 3).await, RequestState::Unknown, "nobody says that it failed");
    assert!(exceptions(&world).await.is_empty());
}

pub async fn what_a_notification_has_told_is_not_asked_about(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone(), &[1, 2, 3]).await;
    for (order, status) in [(1, Status::Succeeded), (2, Status::Failed), (3, Status::Closed)] {
        let told = [arrival(taken(order, status))];
        world.store.post(&told, world.clock.now()).await.expect("the store answers");
    }
    world.sweep_after(LONG).await;
    assert!(pay.books().asked.is_empty());
}

/// Asked about one order, it answers about another of the same merchant.
pub async fn an_answer_about_another_order_is_no_answer(database: Database) {
    let server = wiremock::MockServer::start().await;
    let other = wiremock::ResponseTemplate::new(200).set_body_json(as_json(&taken(2, Status::Succeeded)));
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(other).mount(&server).await;
    let world = world(database, client(&server.uri()), &[1]).await;
    world.sweep_after(30).await;
    assert_eq!(state(&world, 1).await, RequestState::Unknown);
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 1]);
    let kept = only_exception(&world).await;
    assert_eq!((&kept["kind"], &kept["merchant_order_no"]), (&json!("wrong_answer"), &json!(tx(1))));
    assert_eq!(kept["received"]["merchant_order_no"], json!(tx(2)));
}

/// Never a made-up failure: the request stays unknown, and a late result is credited.
pub async fn a_request_that_was_never_taken_is_an_exception_after_the_ladder(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone(), &[1]).await;
    for (step, asked) in [30, 60, 300, 600, 1800, 3600, 7200, 18_000].into_iter().zip(1..) {
        world.sweep_after(step - 1).await;
        world.sweep_after(1).await;
        assert_eq!(pay.books().asked.len(), asked);
        assert!(exceptions(&world).await.is_empty());
    }
    world.sweep_after(36_000).await;
    let kept = only_exception(&world).await;
    assert_eq!(
        (&kept["kind"], &kept["state"], &kept["tx_no"]),
        (&json!("not_taken"), &json!("open"), &json!(null))
    );
    assert_eq!(kept["recorded"]["request"]["amount"], 100);
    assert_eq!(state(&world, 1).await, RequestState::Unknown);
    world.sweep_after(LONG).await;
    assert_eq!(pay.books().asked.len(), 9, "it is a person's now");
    world.store.post(&[arrival(taken(1, Status::Succeeded))], world.clock.now()).await.expect("it answers");
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
    assert_eq!(only_exception(&world).await["state"], "closed");
}

pub async fn a_recharge_that_stays_pending_is_asked_about_at_the_last_step_s_pace(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Pending)]);
    let world = world(database, pay.clone(), &[1]).await;
    for _ in 0..9 {
        world.sweep_after(36_000).await;
    }
    for asked in 10..13 {
        world.sweep_after(35_999).await;
        assert_eq!(pay.books().asked.len(), asked - 1);
        world.sweep_after(1).await;
        assert_eq!(pay.books().asked.len(), asked);
    }
    assert!(exceptions(&world).await.is_empty(), "pay-service says that it is undecided, and so it is");
}

pub async fn a_recharge_that_pay_service_has_forgotten_is_an_exception_until_it_is_back(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Pending)]);
    let world = world(database, pay.clone(), &[1]).await;
    world.sweep_after(30).await;
    pay.books().recharges.clear();
    world.sweep_after(60).await;
    let kept = only_exception(&world).await;
    assert_eq!((&kept["kind"], &kept["tx_no"]), (&json!("not_at_pay_service"), &json!(tx(501))));
    assert_eq!(state(&world, 1).await, RequestState::Known { tx_no: tx(501), status: Status::Pending });
    pay.books().recharges.insert(tx(501), taken(1, Status::Succeeded));
    world.sweep_after(300).await;
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
    let kept = only_exception(&world).await;
    assert_eq!(kept["resolution"]["reason"], "told by pay-service, source sweep");
}

pub async fn an_answer_that_contradicts_the_request_is_a_person_s(database: Database) {
    let other = Recharge { amount: paid(tx(1), "A", 101).amount, ..taken(1, Status::Succeeded) };
    let pay = Scripted::knowing(&[other]);
    let world = world(database, pay.clone(), &[1]).await;
    world.sweep_after(30).await;
    let kept = only_exception(&world).await;
    assert_eq!((&kept["kind"], &kept["source"]), (&json!("contradicts_request"), &json!("sweep")));
    assert_eq!(kept["received"]["amount"], 101);
    world.sweep_after(LONG).await;
    assert_eq!(pay.books().asked.len(), 1);
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 1]);
}

/// A round of an outage puts a few questions, the next only one; then they grow again, no faster than
/// the rate. What was not asked is due at once.
pub async fn an_outage_is_probed_gently_and_nothing_stampedes_after_it(database: Database) {
    let orders: Vec<u128> = (0..40).collect();
    let pay =
        Scripted::knowing(&orders.iter().map(|order| taken(*order, Status::Succeeded)).collect::<Vec<_>>());
    let world = world(database, pay.clone(), &orders).await;
    pay.books().down = true;
    let mut asked = Vec::new();
    for seconds in [30, 60, 60] {
        world.sweep_after(seconds).await;
        asked.push(pay.books().asked.len());
    }
    assert_eq!(asked, [8, 9, 10]);
    world.sweep_after(0).await;
    assert_eq!(pay.books().asked.len(), 10, "it rests");
    pay.books().down = false;
    for _ in 0..20 {
        asked.push(pay.books().asked.len());
        world.sweep_after(60).await;
    }
    let rounds: Vec<usize> = asked.windows(2).skip(3).map(|two| two[1] - two[0]).take(5).collect();
    assert_eq!(rounds, [1, 2, 4, 8, 16]);
    assert_eq!(world.database.totals().await, [1, 4000, 40, 4000, 40]);
    assert_eq!(world.database.number("SELECT max(asks) FROM requests").await, 0, "the outage cost no step");
}

pub async fn processes_share_the_sweep_and_ask_about_each_request_once(database: Database) {
    let orders: Vec<u128> = (0..100).collect();
    let recharges: Vec<Recharge> = orders.iter().map(|order| taken(*order, Status::Succeeded)).collect();
    let pay = Scripted::knowing(&recharges);
    let world = Arc::new(world(database, pay.clone(), &orders).await);
    world.clock.advance(Duration::from_secs(30));
    let mut processes = JoinSet::new();
    for _ in 0..4 {
        let world = world.clone();
        let mut sweep = world.another_sweep(Arc::new(pay.clone()));
        processes.spawn(async move { sweep.run_once().await.expect("the round succeeds") });
    }
    processes.join_all().await;
    let mut asked = pay.books().asked.clone();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!((asked.len(), pay.books().asked.len()), (100, 100));
    assert_eq!(world.database.totals().await, [1, 10_000, 100, 10_000, 100]);
}

pub async fn a_dead_process_s_requests_are_asked_about_when_its_lease_is_over(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Succeeded)]);
    let world = world(database, pay.clone(), &[1]).await;
    let due = world.clock.now() + Duration::from_secs(30);
    let (dead, until) = (tx(77), due + Duration::from_mins(2));
    let claimed = world.store.claim_requests(dead, due, until, 10).await.expect("the store answers");
    assert_eq!(claimed.len(), 1);
    world.sweep_after(149).await;
    assert!(pay.books().asked.is_empty(), "it is under a live lease");
    world.sweep_after(1).await;
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 1]);
    let again = NextAsk { merchant_order_no: tx(1), at: Some(due), asks: 5, misses: 5 };
    world.store.set_next_asks(dead, &[again]).await.expect("the store answers");
    assert_eq!(
        world.database.number("SELECT asks FROM requests").await,
        0,
        "it is not dead after all, but late"
    );
    world.sweep_after(LONG).await;
    assert_eq!(pay.books().asked.len(), 1);
}

pub async fn what_is_left_open_is_measured(database: Database) {
    let world = world(database, Scripted::default(), &[1, 2]).await;
    world.store.post(&[arrival(paid(tx(1), "nobody", 1))], noon()).await.expect("the store answers");
    let day = json!({ "from": "2024-06-10T00:00:00Z", "to": "2024-06-11T00:00:00Z" });
    assert_eq!(world.post("/v1/reconciliations", &day).await.status, 202);
    world.clock.advance(Duration::from_hours(13));
    world.watch.lock().await.run_once().await.expect("measured");
    let shown = world.get("/metrics").await.body.as_str().expect("text").to_owned();
    for line in [
        "ringback_exceptions_open{kind=\"unknown_account\"} 1",
        "ringback_exceptions_open{kind=\"wrong_answer\"} 0",
        "ringback_requests_waiting 2",
        "ringback_requests_oldest_seconds 3599",
        "ringback_reconciliations_running 1",
        "ringback_reconciliations_oldest_seconds 46800",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

/// Whoever asks this pay-service has let go of the database.
struct Watching {
    pay: Scripted,
    database: Database,
}

#[async_trait]
impl PayService for Watching {
    async fn create(&self, request: &Request) -> Result<Answer, NotCreated> {
        self.pay.create(request).await
    }

    async fn payresult(&self, tx_no: Uuid) -> Result<Option<Answer>, Unanswered> {
        assert!(self.database.is_left_alone().await);
        self.pay.payresult(tx_no).await
    }

    async fn payresult_of_order(&self, order: Uuid) -> Result<Option<Answer>, Unanswered> {
        assert!(self.database.is_left_alone().await);
        self.pay.payresult_of_order(order).await
    }

    async fn statement(&self, query: &StatementQuery) -> Result<StatementPage, Unanswered> {
        assert!(self.database.is_left_alone().await);
        self.pay.statement(query).await
    }
}

/// Law 6.
pub async fn no_connection_is_held_while_pay_service_is_asked(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Pending), taken(2, Status::Succeeded)]);
    let watching = Watching { pay: pay.clone(), database: database.shared() };
    let world = world(database, watching, &[1, 2]).await;
    for _ in 0..3 {
        world.sweep_after(600).await;
    }
    assert_eq!(pay.books().asked.len(), 4);
    let day = json!({ "from": "2024-06-10T00:00:00Z", "to": "2024-06-11T00:00:00Z" });
    assert_eq!(world.post("/v1/reconciliations", &day).await.status, 202);
    world.reconcile().await;
    assert_eq!(pay.books().asked.len(), 5);
}

pub async fn a_request_from_a_clock_that_was_ahead_is_asked_about_after_its_step(database: Database) {
    let pay = Scripted::knowing(&[taken(1, Status::Succeeded)]);
    let world = World::asking(database, Arc::new(pay.clone())).await;
    open_account(&*world.store, "A").await;
    world.clock.advance(Duration::from_hours(3));
    recorded(&*world.store, tx(1), 100, world.clock.now() + Duration::from_secs(30)).await;
    world.clock.step(TimeDelta::hours(-3));
    world.sweep_after(30).await;
    assert!(pay.books().asked.is_empty(), "it waits for the clock");
    assert_eq!(clamp(&world, 10).await, 1);
    world.sweep_after(29).await;
    assert!(pay.books().asked.is_empty(), "not before its step");
    world.sweep_after(1).await;
    assert_eq!(pay.books().asked.len(), 1);
    assert_eq!(clamp(&world, 10).await, 0, "what can be stays as it is");
}

/// Looks at all that waits, so many at a time; how many times were ahead.
async fn clamp(world: &World, limit: u32) -> u64 {
    let step = TimeDelta::seconds(30);
    let furthest = Furthest { steps: vec![step, step * 2], pause: step * 20, lease: step };
    let (mut after, mut all) = (Place::FIRST, 0);
    loop {
        let clamped = world.store.clamp_times(after, world.clock.now(), &furthest, limit).await;
        let Clamped { rows, last } = clamped.expect("the store answers");
        assert!(rows <= u64::from(limit), "{rows} at once");
        all += rows;
        let Some(last) = last else { return all };
        after = last;
    }
}

pub async fn however_many_times_are_ahead_they_are_brought_back_page_by_page(database: Database) {
    let world = World::asking(database, Arc::new(Scripted::default())).await;
    open_account(&*world.store, "A").await;
    for n in 0..7 {
        let ask_at = world.clock.now() + TimeDelta::seconds([10, 3600, 3600, 3600, 3600, 7200, 20][n]);
        recorded(&*world.store, tx(n as u128), 100, ask_at).await;
    }
    assert_eq!(clamp(&world, 2).await, 5);
    assert_eq!(clamp(&world, 2).await, 0);
    let now = world.clock.now();
    let claim = world.store.claim_requests(Uuid::from_u128(1), now + TimeDelta::seconds(30), now, 10);
    assert_eq!(claim.await.expect("the store answers").len(), 7);
}

pub async fn the_last_time_that_was_noted_is_kept(database: Database) {
    let world = world(database, Scripted::default(), &[]).await;
    assert_eq!(world.store.last_seen().await.expect("the store answers"), None);
    for _ in 0..2 {
        world.store.note_time(world.clock.now()).await.expect("the store answers");
        assert_eq!(world.store.last_seen().await.expect("the store answers"), Some(world.clock.now()));
        world.clock.step(TimeDelta::hours(-1));
    }
}

/// A time that was noted with a clock that was wrong is corrected all the same.
pub async fn the_time_that_is_noted_does_not_go_back_for_a_process_whose_clock_is_slow(database: Database) {
    let world = World::asking(database, Arc::new(Scripted::default())).await;
    let now = world.clock.now();
    for (noted, seen) in [(0, 0), (-20, 0), (1, 1), (3600, 3600), (0, 0)] {
        world.store.note_time(now + TimeDelta::seconds(noted)).await.expect("the store answers");
        let last = world.store.last_seen().await.expect("the store answers");
        assert_eq!(last, Some(now + TimeDelta::seconds(seen)));
    }
}
