//! The broker suite on `SQLite`, and what only a broker in a file has to show.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use messaging::broker::{Broker, Settlement, SqliteBroker};
use runtime::duration::HumanDuration;
use runtime::testing::{ManualClock, manual_sources};
use support::broker::{Bench, Capabilities, queues};
use support::{GLIMPSE, LINGER, bodies, event, receive};

struct Own {
    bench: Bench,
    clock: ManualClock,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Own {
    #[expect(clippy::unused_async, reason = "the suite awaits it on every broker")]
    async fn finish(self) {
        drop(self.bench);
        self.folder.close().expect("the folder goes");
    }
}

async fn fresh() -> Own {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broker.db");
    let (sources, clock) = manual_sources(1);
    let (elsewhere, _) = manual_sources(2);
    let open = async |sources| Arc::new(SqliteBroker::open(&file, sources).await.expect("opens"));
    let (queue, all) = queues(&sources);
    let bench = Bench {
        broker: open(&sources).await,
        elsewhere: open(&elsewhere).await,
        capabilities: Capabilities { returns_in_order: true },
        sources,
        clock: Some(clock.clone()),
        queue,
        all,
    };
    Own { bench, clock, file, folder }
}

broker_suite!(fresh);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_past_the_required_queue_whose_binding_is_gone() {
    let Own { bench, file, folder: _folder, .. } = fresh().await;
    let broker = SqliteBroker::open(&file, &bench.sources).await.expect("opens").requiring(bench.all);
    bench.broker.declare(bench.queue).await.expect("another queue takes it");
    for number in 0..2 {
        let event = event(&bench.sources, "recharge.succeeded", number);
        assert!(broker.publish(std::slice::from_ref(&event)).await[0].is_ok());
        let mut consumer = bench.broker.consume(bench.all, 10).await.expect("a consumer");
        let received = receive(consumer.as_mut(), 1).await;
        assert_eq!(bodies(&received), [event.to_json()]);
        consumer.settle(vec![(received[0].tag, Settlement::Ack)]).await.expect("settled");
        let db = runtime::database::open_sqlite(&file).await.expect("opens");
        let removed = sqlx::query("DELETE FROM bindings WHERE queue = ?1").bind(bench.all.name);
        removed.execute(&db.writer).await.expect("removed by hand");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_died_with_its_process_gives_its_messages_back() {
    let Own { bench, clock, folder: _folder, .. } = fresh().await;
    let mut dying = bench.elsewhere.consume(bench.queue, 10).await.expect("a consumer");
    let event = event(&bench.sources, "recharge.succeeded", 1);
    assert!(bench.broker.publish(std::slice::from_ref(&event)).await[0].is_ok());
    receive(dying.as_mut(), 1).await;

    let mut heir = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    assert!(heir.receive(1, GLIMPSE, LINGER).await.expect("answers").is_empty());
    // The other process's clock stands still: it is not seen any more.
    clock.advance(Duration::from_secs(6));
    let inherited = receive(heir.as_mut(), 1).await;
    assert_eq!(bodies(&inherited), [event.to_json()]);
    assert!(inherited[0].redelivered);
    let late = dying.settle(vec![(inherited[0].tag, Settlement::Ack)]).await;
    assert!(late.is_err(), "the dead consumer's acknowledgement counts no more");
    let tag = inherited[0].tag;
    heir.settle(vec![(tag, Settlement::Ack)]).await.expect("still the heir's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_consumer_keeps_its_messages_however_long_it_works() {
    let Own { bench, clock, folder: _folder, .. } = fresh().await;
    let mut working = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    assert!(bench.broker.publish(&[event(&bench.sources, "recharge.succeeded", 1)]).await[0].is_ok());
    let held = receive(working.as_mut(), 1).await;
    let mut idle = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    clock.advance(Duration::from_hours(1));
    assert!(idle.receive(1, GLIMPSE, LINGER).await.expect("answers").is_empty());
    let ack = Settlement::Ack;
    working.settle(vec![(held[0].tag, ack)]).await.expect("still its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_outlive_the_broker() {
    let Own { bench, file, folder: _folder, .. } = fresh().await;
    bench.broker.declare(bench.queue).await.expect("declared");
    let event = event(&bench.sources, "recharge.succeeded", 1);
    assert!(bench.broker.publish(std::slice::from_ref(&event)).await[0].is_ok());
    let (queue, sources) = (bench.queue, bench.sources.clone());
    drop(bench);
    let reopened = SqliteBroker::open(&file, &sources).await.expect("opens again");
    let mut consumer = reopened.consume(queue, 10).await.expect("a consumer");
    assert_eq!(bodies(&receive(consumer.as_mut(), 1).await), [event.to_json()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_make_one_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("broker.db");
    let starts = (0..8).map(|seed| {
        let file = file.clone();
        tokio::spawn(async move { SqliteBroker::open(&file, &manual_sources(seed).0).await.map(drop) })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.expect("no panic").expect("each opens it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_from_a_clock_that_was_ahead_comes_after_its_step() {
    let Own { bench, clock, folder: _folder, .. } = fresh().await;
    let step = HumanDuration(Duration::from_secs(10));
    bench.broker.declare_steps(bench.queue, &[step]).await.expect("declared");
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    assert!(bench.broker.publish(&[event(&bench.sources, "recharge.succeeded", 1)]).await[0].is_ok());
    let held = receive(consumer.as_mut(), 1).await;
    clock.advance(Duration::from_hours(1));
    let retry = Settlement::Retry { step, reason: "not yet".into() };
    consumer.settle(vec![(held[0].tag, retry)]).await.expect("settled");
    clock.step(TimeDelta::hours(-1));
    assert!(consumer.receive(1, GLIMPSE, LINGER).await.expect("answers").is_empty());
    clock.advance(step.0);
    receive(consumer.as_mut(), 1).await;
}
