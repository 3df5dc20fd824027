//! Days that no process was there for, and days that pay-service does not answer for: reconciled later, oldest
//! first, and named until then.

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::Recharge;
use chrono::{DateTime, Utc};
use runtime::background::{Progress, Worker};
use runtime::testing::ManualClock;
use runtime::testing::log::Log;
use runtime::{Clock, SharedClock};
use serde_json::{Value, json};
use uuid::Uuid;

use super::statement::{items, world};
use crate::support::database::Database;
use crate::support::paid;
use crate::support::scripted::Scripted;
use crate::support::service::World;

/// A clock that a test sets: time passes until then, or it steps back.
#[derive(Clone)]
struct SetClock(ManualClock);

impl SetClock {
    fn at(time: &str) -> Self {
        Self(ManualClock::at(time))
    }

    fn set(&self, time: &str) {
        let time: DateTime<Utc> = time.parse().expect("a time");
        let by = time - self.0.wall();
        match by.to_std() {
            Ok(passes) => self.0.advance(passes),
            Err(_back) => self.0.step(by),
        }
    }

    fn shared(&self) -> SharedClock {
        Arc::new(self.0.clone())
    }
}

async fn run(process: &mut Box<dyn Worker>) {
    while process.run_once().await.expect("the round succeeds") == Progress::More {}
}

/// The days of reconciliations, oldest first, each with a field of it.
async fn days(world: &World, field: &str) -> Vec<(String, Value)> {
    let mut all = items(world, "/v1/reconciliations?limit=200").await;
    all.reverse();
    let day = |run: &Value| run["from"].as_str().expect("a time")[..10].to_owned();
    all.iter().map(|run| (day(run), run[field].clone())).collect()
}

fn each(days: &[&str], value: &Value) -> Vec<(String, Value)> {
    days.iter().map(|day| ((*day).to_owned(), value.clone())).collect()
}

/// A success of January 2026.
fn paid_on(day: u32) -> Recharge {
    let time: DateTime<Utc> = format!("2026-01-{day:02}T12:00:00Z").parse().expect("a time");
    let millis = u128::try_from(time.timestamp_millis()).expect("after 1970");
    paid(Uuid::from_u128((millis << 80) | (7 << 76) | (2 << 62)), "A", 100)
}

async fn audit(world: &World) -> Value {
    world.get("/v1/audit").await.body
}

/// Weeks as well as days. Of several processes one reconciles each day.
pub async fn days_that_no_process_was_there_for_are_reconciled_oldest_first_and_once(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    let clock = SetClock::at("2026-01-02T03:00:00Z");
    run(&mut world.nightly_by(10, Arc::new(pay.clone()), clock.shared())).await;
    assert_eq!(days(&world, "state").await, each(&["2026-01-01"], &json!("finished")));

    pay.books().recharges.extend([3, 20].map(|day| (paid_on(day).tx_no, paid_on(day))));
    clock.set("2026-01-23T12:00:00Z");
    let mut processes: Vec<_> =
        (11..14).map(|seed| world.nightly_by(seed, Arc::new(pay.clone()), clock.shared())).collect();
    for process in &mut processes {
        run(process).await;
    }
    let missed: Vec<String> = (1..=22).map(|day| format!("2026-01-{day:02}")).collect();
    let missed: Vec<&str> = missed.iter().map(String::as_str).collect();
    assert_eq!(days(&world, "state").await, each(&missed, &json!("finished")));
    assert_eq!(days(&world, "origin").await, each(&missed, &json!("nightly")));
    let asked: Vec<Value> = days(&world, "asked_at").await.into_iter().map(|(_, at)| at).collect();
    assert!(asked.is_sorted_by_key(Value::to_string), "oldest first: {asked:?}");
    assert_eq!(world.database.totals().await, [2, 200, 2, 200, 0], "what was missing is credited");
}

/// While pay-service is down they are named, in the log, in the metrics and beside `balanced`; the oldest is
/// asked for alone until it has failed often.
pub async fn days_that_are_not_reconciled_are_named_in_log_metrics_and_audit(database: Database) {
    let (log, _guard) = Log::start();
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    let clock = SetClock::at("2026-01-02T03:00:00Z");
    run(&mut world.nightly_by(10, Arc::new(pay.clone()), clock.shared())).await;
    world.clock.advance(Duration::from_hours(5 * 24 + 12));
    clock.set("2026-01-06T12:00:00Z");
    pay.books().down = true;
    let mut process = world.nightly_by(11, Arc::new(pay.clone()), clock.shared());
    run(&mut process).await;
    clock.set("2026-01-06T12:00:31Z");
    run(&mut process).await;
    assert_eq!(days(&world, "state").await[1..], each(&["2026-01-02"], &json!("running")), "one at a time");
    let missed = log.take().into_iter().filter(|line| line.contains("reconciliation.days_missed"));
    let missed: Vec<String> = missed.collect();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(missed[0].contains("days=4") && missed[0].contains("oldest=2026-01-02"), "{missed:?}");

    let audited = audit(&world).await;
    let state = |day: &str, state: &str| json!({ "day": day, "state": state });
    let waiting = ["2026-01-03", "2026-01-04", "2026-01-05"].map(|day| state(day, "waiting"));
    let unreconciled = [&[state("2026-01-02", "running")], &waiting[..]].concat();
    let known = &audited["reconciliation"];
    assert_eq!((&audited["balanced"], &known["last_reconciled_day"]), (&json!(true), &json!("2026-01-01")));
    assert_eq!((&known["unreconciled_days"], &known["unreconciled"]), (&json!(4), &json!(unreconciled)));
    assert!(audited["does_not_check"].as_str().is_some_and(|text| text.contains("pay-service")));
    world.watch.lock().await.run_once().await.expect("the round succeeds");
    let shown = world.get("/metrics").await.body.as_str().expect("text").to_owned();
    for line in [
        "ringback_unreconciled_days{state=\"waiting\"} 3",
        "ringback_unreconciled_days{state=\"running\"} 1",
        "ringback_unreconciled_days_oldest_seconds 302400",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }

    pay.books().down = false;
    clock.set("2026-01-06T13:00:00Z");
    world.clock.advance(Duration::from_hours(1));
    run(&mut process).await;
    let all = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"];
    assert_eq!(days(&world, "state").await, each(&all, &json!("finished")));
    assert_eq!(audit(&world).await["reconciliation"]["unreconciled_days"], 0);
}

/// One that is never answered for holds up the others for some questions only, and stays named.
pub async fn a_day_that_is_never_answered_for_does_not_hold_up_the_others_for_ever(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    let clock = SetClock::at("2026-01-02T03:00:00Z");
    pay.books().down = true;
    let mut process = world.nightly_by(10, Arc::new(pay.clone()), clock.shared());
    for minute in 0..50 {
        clock.set(&format!("2026-01-02T03:{minute:02}:00Z"));
        run(&mut process).await;
    }
    clock.set("2026-01-03T03:00:00Z");
    run(&mut process).await;
    assert_eq!(days(&world, "state").await, each(&["2026-01-01", "2026-01-02"], &json!("running")));
}

/// The days that a clock was ahead of were not over: what it found does not count.
pub async fn a_day_that_a_clock_that_was_ahead_has_reconciled_is_reconciled_again(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    let clock = SetClock::at("2026-01-02T03:00:00Z");
    let mut process = world.nightly_by(10, Arc::new(pay.clone()), clock.shared());
    run(&mut process).await;
    clock.set("2026-01-05T12:00:00Z");
    run(&mut process).await;
    let ahead = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"];
    assert_eq!(days(&world, "state").await, each(&ahead, &json!("finished")));

    clock.set("2026-01-02T12:00:00Z");
    run(&mut process).await;
    let counts: Vec<bool> = days(&world, "voided_at").await.iter().map(|(_, at)| at.is_null()).collect();
    assert_eq!(counts, [true, false, false, false]);
    pay.books().recharges.insert(paid_on(2).tx_no, paid_on(2));
    for day in 3..=5 {
        clock.set(&format!("2026-01-{day:02}T12:00:30Z"));
        run(&mut process).await;
    }
    let valid = days(&world, "voided_at").await.into_iter().filter(|(_, at)| at.is_null());
    let valid: Vec<String> = valid.map(|(day, _)| day).collect();
    assert_eq!(valid, ahead, "each of them once more, when it was over");
    assert_eq!(world.database.totals().await, [2, 100, 1, 100, 0]);
}

/// Two processes whose clocks differ do not begin the same days over and over.
pub async fn clocks_that_differ_for_long_begin_each_day_a_few_times_at_most(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    let (ahead, right) = (SetClock::at("2026-01-04T03:00:00Z"), SetClock::at("2026-01-04T01:00:00Z"));
    let mut processes = [(20, &ahead), (21, &right)]
        .map(|(seed, clock)| world.nightly_by(seed, Arc::new(pay.clone()), clock.shared()));
    for minute in 0..59 {
        ahead.set(&format!("2026-01-04T03:{minute:02}:00Z"));
        right.set(&format!("2026-01-04T01:{minute:02}:00Z"));
        for process in &mut processes {
            run(process).await;
        }
    }
    assert!(days(&world, "state").await.len() <= 3, "{:?}", days(&world, "state").await);
}

/// Asked for by hand, in parts: days that are too long ago to be begun by themselves.
pub async fn a_day_is_reconciled_as_well_when_its_parts_were_asked_for(database: Database) {
    let pay = Scripted::default();
    let world = world(database, pay.clone()).await;
    let clock = SetClock::at("2025-09-02T03:00:00Z");
    run(&mut world.nightly_by(10, Arc::new(pay.clone()), clock.shared())).await;
    let too_old = audit(&world).await["reconciliation"].clone();
    assert_eq!(too_old["unreconciled"][0], json!({ "day": "2025-09-02", "state": "too_old" }));
    assert_eq!(too_old["unreconciled_days"], 120, "up to 2025-12-30: it is midnight");
    let parts =
        ["2025-09-02T00:00:00Z", "2025-09-02T07:30:00Z", "2025-09-20T00:00:00Z", "2025-12-31T00:00:00Z"];
    for part in parts.windows(2) {
        let begun = world.post("/v1/reconciliations", &json!({ "from": part[0], "to": part[1] })).await;
        assert_eq!(begun.status, 202, "{begun:?}");
    }
    world.reconcile().await;
    let known = audit(&world).await["reconciliation"].clone();
    assert_eq!(
        (&known["unreconciled_days"], &known["last_reconciled_day"]),
        (&json!(0), &json!("2025-12-30"))
    );
}
