//! The intake against a real broker: nothing is acknowledged before it is handled (law 3).

mod support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use messaging::broker::{Broker, NOTIFIER_EVENTS, SqliteBroker};
use messaging::{Event, HandleEvents, Intake, Verdict};
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::open_sqlite;
use runtime::testing::manual_sources;
use support::{GLIMPSE, LINGER, PATIENCE, event, events, receive};

struct Bench {
    broker: Arc<dyn Broker>,
    sources: Sources,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broker.db");
    let (sources, _) = manual_sources(3);
    let broker = Arc::new(SqliteBroker::open(&file, &sources).await.expect("opens"));
    broker.declare(NOTIFIER_EVENTS).await.expect("declared");
    Bench { broker, sources, file, _folder: folder }
}

impl Bench {
    fn intake(&self, handler: Handler) -> Intake<Handler> {
        Intake::new("test.intake", self.broker.clone(), NOTIFIER_EVENTS, handler)
    }

    async fn publish(&self, events: &[Event]) {
        for answer in self.broker.publish(events).await {
            answer.expect("confirmed");
        }
    }

    /// Puts what no publisher of ours would send into the queue.
    async fn post(&self, body: &[u8]) {
        let db = open_sqlite(&self.file).await.expect("opens");
        sqlx::query("INSERT INTO messages (queue, body, published_at) VALUES (?1, ?2, 0)")
            .bind(NOTIFIER_EVENTS.name)
            .bind(body)
            .execute(&db.writer)
            .await
            .expect("posted");
    }

    async fn is_empty(&self) -> bool {
        let mut consumer = self.broker.consume(NOTIFIER_EVENTS, 10).await.expect("a consumer");
        consumer.receive(10, GLIMPSE, LINGER).await.expect("answers").is_empty()
    }

    async fn dead(&self, count: usize) -> Vec<(Vec<u8>, String)> {
        let mut consumer = self.broker.consume_dead(NOTIFIER_EVENTS, 10).await.expect("a consumer");
        let letters = receive(consumer.as_mut(), count).await;
        letters.into_iter().map(|dead| (dead.body.to_vec(), dead.reason.expect("a reason"))).collect()
    }
}

type Rule = Box<dyn FnMut(&[Event]) -> Result<Vec<Verdict>, RoundError> + Send>;

/// Handles by a rule, and remembers the subjects it was given.
struct Handler {
    rule: Rule,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Handler {
    fn new(rule: impl FnMut(&[Event]) -> Result<Vec<Verdict>, RoundError> + Send + 'static) -> Self {
        Self { rule: Box::new(rule), seen: Arc::default() }
    }

    fn content() -> Self {
        Self::new(|events| Ok(vec![Verdict::Done; events.len()]))
    }
}

#[async_trait]
impl HandleEvents for Handler {
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Verdict>, RoundError> {
        let subjects = events.iter().map(|event| event.subject.clone().unwrap_or_default()).collect();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(subjects);
        (self.rule)(&events)
    }
}

async fn rounds_until(intake: &mut Intake<Handler>, done: impl Fn() -> bool) {
    let rounds = async {
        while !done() {
            intake.run_once().await.expect("a round");
        }
    };
    tokio::time::timeout(PATIENCE, rounds).await.expect("the events come again in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_handled_as_one_and_acknowledged() {
    let bench = bench().await;
    bench.publish(&events(&bench.sources, "recharge.succeeded", 3)).await;
    let handler = Handler::content();
    let seen = handler.seen.clone();
    let mut intake = bench.intake(handler);
    assert_eq!(intake.run_once().await.expect("a round"), Progress::More);
    drop(intake);
    assert_eq!(*seen.lock().expect("sound"), [["0", "1", "2"]]);
    assert!(bench.is_empty().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_when_the_handler_fails_and_everything_comes_again() {
    let bench = bench().await;
    bench.publish(&events(&bench.sources, "recharge.succeeded", 2)).await;
    let mut failures = 1;
    let handler = Handler::new(move |events| {
        if failures > 0 {
            failures -= 1;
            return Err("the database does not answer".into());
        }
        Ok(vec![Verdict::Done; events.len()])
    });
    let seen = handler.seen.clone();
    let mut intake = bench.intake(handler);
    intake.run_once().await.expect_err("the loop must back off");
    rounds_until(&mut intake, || seen.lock().expect("sound").len() == 2).await;
    drop(intake);
    assert_eq!(*seen.lock().expect("sound"), [["0", "1"], ["0", "1"]]);
    assert!(bench.is_empty().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_dropped_half_way_has_acknowledged_nothing() {
    struct Stuck;
    #[async_trait]
    impl HandleEvents for Stuck {
        async fn handle(&mut self, _events: Vec<Event>) -> Result<Vec<Verdict>, RoundError> {
            std::future::pending().await
        }
    }
    let bench = bench().await;
    bench.publish(&[event(&bench.sources, "recharge.succeeded", 7)]).await;
    let mut intake = Intake::new("test.intake", bench.broker.clone(), NOTIFIER_EVENTS, Stuck);
    tokio::time::timeout(GLIMPSE * 4, intake.run_once()).await.expect_err("stuck");
    drop(intake);
    let handler = Handler::content();
    let seen = handler.seen.clone();
    let mut next = bench.intake(handler);
    rounds_until(&mut next, || !seen.lock().expect("sound").is_empty()).await;
    assert_eq!(*seen.lock().expect("sound"), [["7"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_given_up_with_the_reason_and_stops_nothing() {
    let bench = bench().await;
    let large = vec![b' '; messaging::event::MAX_EVENT_BYTES + 1];
    bench.post(b"hello").await;
    bench.publish(&[event(&bench.sources, "recharge.succeeded", 1)]).await;
    bench.post(br#"{"specversion":"0.3"}"#).await;
    bench.post(&large).await;
    let handler = Handler::content();
    let seen = handler.seen.clone();
    let mut intake = bench.intake(handler);
    intake.run_once().await.expect("a round");
    drop(intake);
    assert_eq!(*seen.lock().expect("sound"), [["1"]]);
    assert!(bench.is_empty().await);
    let dead = bench.dead(3).await;
    assert_eq!(dead[0].0, b"hello");
    assert!(dead[0].1.contains("not a CloudEvents 1.0 JSON event"), "{}", dead[0].1);
    assert!(dead[2].1.contains("larger than 256 KiB"), "{}", dead[2].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_give_up_single_events() {
    let bench = bench().await;
    let sent = events(&bench.sources, "recharge.succeeded", 3);
    bench.publish(&sent).await;
    let handler = Handler::new(|events| {
        let verdict = |event: &Event| match event.subject.as_deref() {
            Some("1") => Verdict::DeadLetter("its id can't be a header".into()),
            _ => Verdict::Done,
        };
        Ok(events.iter().map(verdict).collect())
    });
    let mut intake = bench.intake(handler);
    intake.run_once().await.expect("a round");
    drop(intake);
    assert!(bench.is_empty().await);
    assert_eq!(bench.dead(1).await, [(sent[1].to_json(), "its id can't be a header".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_answers_too_little_has_handled_nothing() {
    let bench = bench().await;
    bench.publish(&events(&bench.sources, "recharge.succeeded", 2)).await;
    let mut intake = bench.intake(Handler::new(|_| Ok(vec![Verdict::Done])));
    let error = intake.run_once().await.expect_err("miscounted");
    assert!(error.to_string().contains("1 verdicts on 2 events"), "{error}");
    drop(intake);
    let mut consumer = bench.broker.consume(NOTIFIER_EVENTS, 10).await.expect("a consumer");
    assert_eq!(receive(consumer.as_mut(), 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_without_messages_ends_by_itself() {
    let bench = bench().await;
    let mut intake = bench.intake(Handler::content());
    assert_eq!(intake.run_once().await.expect("a round"), Progress::More);
}
