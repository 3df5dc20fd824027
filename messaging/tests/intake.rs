//! The intake against a real broker: nothing is acknowledged before it is handled (law 3).

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use messaging::broker::{
    Broker, BrokerError, DeadLetter, DeadLetters, Delivery, NOTIFIER_EVENTS, Queue, Settlement, SqliteBroker,
};
use messaging::{Consumer, Event, HandleEvents, Intake, Verdict};
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::open_sqlite;
use runtime::duration::HumanDuration;
use runtime::http::Page;
use runtime::testing::{ManualClock, manual_sources};
use support::{GLIMPSE, LINGER, PATIENCE, event, events, receive};

struct Bench {
    broker: Arc<dyn Broker>,
    sources: Sources,
    clock: ManualClock,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broker.db");
    let (sources, clock) = manual_sources(3);
    let broker = Arc::new(SqliteBroker::open(&file, &sources).await.expect("opens"));
    broker.declare(NOTIFIER_EVENTS).await.expect("declared");
    Bench { broker, sources, clock, file, _folder: folder }
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

    async fn letters(&self) -> Vec<DeadLetter> {
        let dead = self.broker.dead_letters(NOTIFIER_EVENTS).await.expect("there");
        dead.list(Page { limit: 10, after: None }).await.expect("listed")
    }

    /// What was given up, and why, in that order.
    async fn dead(&self) -> Vec<(Vec<u8>, String)> {
        let letters = self.letters().await.into_iter().rev();
        letters.map(|dead| (dead.body.to_vec(), dead.history.reason.expect("a reason"))).collect()
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

/// A broker whose queue is empty, and which counts how often it is declared.
#[derive(Default)]
struct EmptyBroker(AtomicU32);

struct EmptyConsumer;

#[async_trait]
impl Broker for EmptyBroker {
    async fn declare(&self, _queue: Queue) -> Result<(), BrokerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn declare_steps(&self, _queue: Queue, _steps: &[HumanDuration]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, _events: &[Event]) -> Vec<Result<(), BrokerError>> {
        Vec::new()
    }

    async fn consume(&self, queue: Queue, _prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.declare(queue).await?;
        Ok(Box::new(EmptyConsumer))
    }

    async fn dead_letters(&self, _queue: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        Err(BrokerError::Refused)
    }

    async fn check(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

#[async_trait]
impl Consumer for EmptyConsumer {
    async fn receive(&mut self, _: usize, wait: Duration, _: Duration) -> Result<Vec<Delivery>, BrokerError> {
        tokio::time::sleep(wait).await;
        Ok(Vec::new())
    }

    async fn settle(&mut self, _: Vec<(u64, Settlement)>) -> Result<(), BrokerError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_declared_again_every_five_seconds() {
    let broker = Arc::new(EmptyBroker::default());
    let mut intake = Intake::new("test.intake", broker.clone(), NOTIFIER_EVENTS, Handler::content());
    let end = tokio::time::Instant::now() + Duration::from_mins(1);
    while tokio::time::Instant::now() < end {
        intake.run_once().await.expect("a round");
    }
    let declared = broker.0.load(Ordering::Relaxed);
    assert!((10..=13).contains(&declared), "declared {declared} times");
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
    let dead = bench.dead().await;
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
    assert_eq!(bench.dead().await, [(sent[1].to_json(), "its id can't be a header".to_owned())]);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_handled_yet_climbs_the_ladder_and_is_given_up_at_its_end() {
    let bench = bench().await;
    let sent = events(&bench.sources, "recharge.succeeded", 2);
    bench.publish(&sent).await;
    let mut attempts = 0;
    let handler = Handler::new(move |events| {
        let verdict = |event: &Event| match event.subject.as_deref() {
            Some("1") => {
                attempts += 1;
                Verdict::Retry(format!("attempt {attempts}"))
            }
            _ => Verdict::Done,
        };
        Ok(events.iter().map(verdict).collect())
    });
    let seen = handler.seen.clone();
    let ladder = "1s,30s,1s".parse().expect("a ladder");
    let mut intake = bench.intake(handler).with_ladder(ladder);
    let rounds = || seen.lock().expect("sound").len();
    rounds_until(&mut intake, || rounds() == 1).await;
    for (climbed, step) in [(2, 1), (3, 30), (4, 1)] {
        intake.run_once().await.expect("a round");
        assert_eq!(rounds(), climbed - 1, "not before its step has passed");
        bench.clock.advance(Duration::from_secs(step));
        rounds_until(&mut intake, || rounds() == climbed).await;
    }
    let letters = bench.letters().await;
    assert_eq!((letters.len(), &letters[0].body[..]), (1, &sent[1].to_json()[..]));
    assert_eq!(letters[0].history.reason.as_deref(), Some("attempt 4"));
    assert_eq!(letters[0].history.attempts, 4);
    drop(intake);
    assert!(bench.is_empty().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_handler_spends_no_step() {
    let bench = bench().await;
    bench.publish(&[event(&bench.sources, "recharge.succeeded", 1)]).await;
    let mut answers = [Err("down"), Err("down"), Ok(()), Err("down"), Ok(())].into_iter();
    let handler = Handler::new(move |events| match answers.next().expect("no more rounds") {
        Ok(()) => Ok(vec![Verdict::Retry("no account".into()); events.len()]),
        Err(error) => Err(error.into()),
    });
    let seen = handler.seen.clone();
    let mut intake = bench.intake(handler).with_ladder("1s".parse().expect("a ladder"));
    for heard in 1..=5 {
        let rounds = async {
            while seen.lock().expect("sound").len() < heard {
                // A round in which the handler fails fails; the loop would back off.
                let _ = intake.run_once().await;
                bench.clock.advance(Duration::from_secs(1));
            }
        };
        tokio::time::timeout(PATIENCE, rounds).await.expect("the event comes again in time");
        assert_eq!(bench.letters().await.len(), usize::from(heard == 5));
    }
    assert_eq!(bench.letters().await[0].history.attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ladder_what_can_t_be_handled_yet_is_given_up() {
    let bench = bench().await;
    let sent = event(&bench.sources, "recharge.succeeded", 1);
    bench.publish(std::slice::from_ref(&sent)).await;
    let mut intake = bench.intake(Handler::new(|_| Ok(vec![Verdict::Retry("not yet".into())])));
    intake.run_once().await.expect("a round");
    assert_eq!(bench.dead().await, [(sent.to_json(), "not yet".to_owned())]);
}
