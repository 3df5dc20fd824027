//! Reconciliations asked for, gone on with, driven to their end, and read.

use std::collections::BTreeMap;

use account_service::domain::KeptDifference;
use axum::http::Method;
use chrono::DateTime;
use runtime::http::Page;
use serde_json::{Value, json};
use uuid::Uuid;

use super::command::{Final, PROCESSES, Span, Stop, Telling, WHOLE};
use super::driver::{Driver, Kind, Work};
use super::pay_service::{FIRST_MILLISECOND, Told, account_no, currency};
use super::reconciling::Heard;
use super::report::{expected, shown};
use super::walks::Found;

const ALL: Page = Page { limit: 200, after: None };
/// No case takes more rounds until all reconciliations are at their end.
const ROUNDS: usize = 200;

impl Driver<'_> {
    /// Somebody asks for the reconciliation of a period; its id, if it is kept.
    pub async fn begin_walk(&mut self, (first, length): Span, stop: Stop) -> Option<Uuid> {
        let first = FIRST_MILLISECOND + first;
        let period = (first, first + length);
        let time = |millis: u64| {
            DateTime::from_timestamp_millis(i64::try_from(millis).expect("48 bits")).expect("a time")
        };
        let body = json!({ "from": time(period.0), "to": time(period.1) });
        let request = Self::get_or_post(Method::POST, "/v1/reconciliations", &body);
        let (work, answer) = self.call(Kind::Reconcile(period), request, stop).await;
        if let Some((status, body)) = answer {
            let id = work.begun.expect("it is answered once it is kept");
            assert_eq!((status, &body["id"], &body["state"]), (202, &json!(id), &json!("running")), "{body}");
        }
        work.begun
    }

    /// A process goes on with a stretch of what is due the longest.
    pub async fn walk(&mut self, process: usize, stop: Stop) {
        self.make_ready(process);
        let mut workers = self.rig.processes[process].take_workers();
        let round = Box::pin(async move {
            let ended = workers.reconciliations.run_once().await;
            (workers, ended)
        });
        self.go(process, round, Work::new(Kind::Walk, self.now()), stop).await;
    }

    /// Some stretches, the last of which may be stopped.
    pub async fn walk_on(&mut self, process: usize, due: bool, stretches: u32, stop: Stop) {
        for left in (0..stretches).rev() {
            if due && self.model.next_due().is_none() {
                break;
            }
            if due {
                self.pass_to(self.model.next_due());
            }
            self.walk(process, stop.filter(|_| left == 0)).await;
        }
    }

    /// One is stopped on a stretch and goes on when another has taken its lease.
    pub async fn overtake_walk(&mut self, telling: &Telling, stop: u32) {
        self.stop_on_a_stretch(telling, stop).await;
        self.walk_on(1, true, 1, None).await;
        self.go_on(0, None).await;
    }

    /// One is stopped on a stretch, and goes on when a recharge of it has succeeded and was rung.
    pub async fn ring_meanwhile(&mut self, pick: usize, stop: u32) {
        self.stop_on_a_stretch(&Telling { size: 0, moods: Vec::new() }, stop).await;
        let settled = self.settle(pick, Final::Succeeded);
        self.entrusted.extend(settled.iter().map(|told| told.tx));
        if let Some(told) = settled.or_else(|| self.result(pick, None)) {
            self.ring(told, None).await;
        }
        self.go_on(0, None).await;
    }

    async fn stop_on_a_stretch(&mut self, telling: &Telling, stop: u32) {
        if self.model.next_due().is_none() {
            self.begin_walk(WHOLE, None).await;
        }
        self.books().tell_so(telling);
        self.walk_on(0, true, 1, Some(stop)).await;
    }

    /// What a round of a reconciliation must have done.
    pub fn check_walk(work: &Work) {
        let done = (work.pace.is_kept, work.pace.is_put_off);
        let expected = match work.pace.heard {
            Heard::NotAsked => (false, false),
            Heard::NoPage => (false, true),
            Heard::Page(_) => (true, false),
        };
        let is_asked = !matches!(work.pace.heard, Heard::NotAsked);
        assert_eq!(is_asked, work.pace.claimed.is_some(), "who has one asks for a page");
        assert_eq!(done, expected, "a stretch is kept if it was told, else it is put off");
    }

    /// Every reconciliation comes to its end.
    pub async fn end_walks(&mut self) {
        for round in 0.. {
            if self.model.next_due().is_none() {
                break;
            }
            assert!(round < ROUNDS, "reconciliations come to an end: {:?}", self.model.walks);
            self.walk_on(round % PROCESSES, true, 1, None).await;
        }
    }

    /// One of everything while nothing else happens: it finds what the two sides differ in.
    pub async fn reconcile_whole(&mut self) {
        let there = self.books().recharges.clone();
        let expected = self.model.whole(&there);
        let id = self.begin_walk(WHOLE, None).await.expect("it is kept");
        self.end_walks().await;
        let walk = self.model.walk(id);
        let found = std::mem::take(&mut walk.found);
        assert_eq!((&walk.sums, &found), (&expected.sums, &expected.found), "what both sides come to");
        assert_eq!(walk.recharges, there.len() as u64, "each recharge is told once");
        walk.found = found;
        self.saw("differences at the end", expected.found.len());
    }

    /// All reports, and what they have found.
    pub async fn look_at_walks(&self, exceptions: &BTreeMap<Uuid, (Uuid, &'static str)>) {
        let kept = self.rig.store.reconciliations(ALL).await.expect("a store");
        let mut kept: Vec<_> = kept.iter().map(shown).collect();
        kept.reverse();
        assert_eq!(kept, self.model.walks.iter().map(expected).collect::<Vec<_>>(), "every report is kept");
        for walk in self.model.walks.iter().filter(|walk| !walk.found.is_empty()) {
            let lines = self.rig.store.differences(walk.id, None, ALL).await.expect("a store");
            let lines: Vec<_> = lines.iter().map(|line| Self::read_line(line, exceptions)).collect();
            let expected: Vec<_> = walk.found.iter().map(|found| self.found_line(found)).collect();
            assert_eq!(lines, expected, "no difference is lost, none is made up");
        }
    }

    fn read_line(
        line: &KeptDifference,
        exceptions: &BTreeMap<Uuid, (Uuid, &'static str)>,
    ) -> (Uuid, &'static str, Value, Value, Option<(Uuid, &'static str)>) {
        let json = |side: &Option<Box<str>>| match side {
            Some(json) => serde_json::from_str(json).expect("JSON"),
            None => Value::Null,
        };
        let mut here = json(&line.here);
        if let Some(here) = here.as_object_mut() {
            assert!(here.remove("credited_at").is_some_and(|at| at.is_string()));
            here.remove("event_id");
        }
        let exception = line.exception_id.map(|id| exceptions[&id]);
        (line.tx_no, line.kind.as_str(), json(&line.there), here, exception)
    }

    fn found_line(&self, found: &Found) -> (Uuid, &'static str, Value, Value, Option<(Uuid, &'static str)>) {
        let credit = |told: &Told| {
            json!({
                "tx_no": told.tx, "account_no": account_no(told.account), "amount": told.amount,
                "currency": currency(told.dollars), "source": self.model.credited_by[&told.tx],
                "merchant_order_no": told.order, "credited_despite": self.model.despite.get(&told.tx),
            })
        };
        let there = found.there.as_ref().map_or(Value::Null, Told::json);
        let here = found.here.as_ref().map_or(Value::Null, credit);
        let exception = found.exception.map(|kind| (found.tx, kind.word()));
        (found.tx, found.differs.word(), there, here, exception)
    }
}
