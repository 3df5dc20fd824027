//! An event's way from the outbox through the broker, as a trace shows it.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use messaging::broker::{Broker, NOTIFIER_EVENTS, SqliteBroker};
use messaging::outbox::SQLITE_TABLE;
use messaging::outbox::sqlite::{SqliteOutbox, insert};
use messaging::{Event, HandleEvents, Intake, Relay, Verdict};
use runtime::background::{RoundError, Worker};
use runtime::testing::collector::{Collected, Collector};
use runtime::testing::{manual_sources, temporary_sqlite};
use runtime::trace::Spans;
use support::events;

struct Content;

#[async_trait]
impl HandleEvents for Content {
    async fn handle(&mut self, events: Vec<Event>) -> Result<Vec<Verdict>, RoundError> {
        Ok(vec![Verdict::Done; events.len()])
    }
}

/// Carries `events` from an outbox to a handler; the spans of that.
async fn carried(events: &[Event]) -> Vec<Collected> {
    let (db, folder) = temporary_sqlite().await;
    let (sources, _) = manual_sources(5);
    let clock = sources.clock.clone();
    sqlx::raw_sql(SQLITE_TABLE).execute(&db.writer).await.expect("the table is made");
    insert(&mut db.writer.acquire().await.expect("a connection"), events, None, clock.now())
        .await
        .expect("written");
    let broker = SqliteBroker::open(&folder.path().join("broker.db"), &sources).await.expect("opens");
    let broker: Arc<dyn Broker> = Arc::new(broker);
    broker.declare(NOTIFIER_EVENTS).await.expect("declared");

    let collector = Collector::start().await;
    let (spans, posting) = Spans::start(&collector.settings(), "test").expect("an exporter");
    let mut relay =
        Relay::new(Arc::new(SqliteOutbox { db }), broker.clone(), sources).with_spans(spans.clone());
    relay.run_once().await.expect("published");
    let mut intake = Intake::new("test.intake", broker, NOTIFIER_EVENTS, Content).with_spans(spans, clock);
    intake.run_once().await.expect("handled");
    posting.finish().await;
    collector.wait_for(2 * events.len()).await
}

fn named<'a>(spans: &'a [Collected], name: &str) -> &'a Collected {
    spans.iter().find(|collected| collected.span.name == name).expect("a span")
}

#[tokio::test]
async fn the_publishing_of_an_event_without_a_trace_begins_one() {
    let (sources, _) = manual_sources(4);
    let spans = carried(&events(&sources, "recharge.succeeded", 1)).await;
    let (publish, intake) = (named(&spans, "publish"), named(&spans, "test.intake"));
    assert_eq!((publish.parent_id(), intake.parent_id()), (String::new(), publish.span_id()));
    assert_eq!(intake.trace_id(), publish.trace_id());
    assert_eq!(intake.attribute("event.type").as_deref(), Some("recharge.succeeded"));
}

#[tokio::test]
async fn an_event_that_has_a_trace_stays_in_it() {
    let (sources, _) = manual_sources(4);
    let mut events = events(&sources, "recharge.succeeded", 2);
    events[0].traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    let spans = carried(&events).await;
    let of_given: Vec<&Collected> =
        spans.iter().filter(|span| span.trace_id() == "0af7651916cd43dd8448eb211c80319c").collect();
    assert_eq!(of_given.len(), 2);
    assert!(of_given.iter().all(|span| span.parent_id() == "b7ad6b7169203331"));
    assert_ne!(of_given[0].span_id(), of_given[1].span_id());
    assert_eq!(of_given[1].attribute("messaging.batch.message_count").as_deref(), Some("2"));
}
