//! The broker suite on `RabbitMQ`, and what a broker at the end of a network has to show.

mod support;

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use messaging::broker::{
    ATTEMPTS_HEADER, AmqpUrls, Broker, BrokerError, FIRST_PUBLISHED_HEADER, REASON_HEADER, RabbitMq,
    RabbitMqOptions, Settlement,
};
use runtime::Sources;
use runtime::duration::HumanDuration;
use runtime::http::Page;
use runtime::testing::proxy::Proxy;
use runtime::testing::required_variable;
use support::broker::{Bench, Capabilities, STEPS, queues};
use support::{GLIMPSE, LINGER, PATIENCE, bodies, event, events, receive};

/// Short enough for tests, long enough for a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

struct Own {
    bench: Bench,
    proxy: Proxy,
    exchange: String,
    /// A connection past the proxy.
    direct: Connection,
}

impl Own {
    /// The servers are shared, so a test takes its queues along.
    async fn finish(self) {
        let channel = self.channel().await;
        for queue in [self.bench.queue, self.bench.all] {
            let steps = STEPS.map(|step| queue.retry(step));
            for name in [queue.name.to_owned(), queue.dead()].into_iter().chain(steps) {
                channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("deleted");
            }
        }
        let options = ExchangeDeleteOptions::default();
        channel.exchange_delete(self.exchange.as_str().into(), options).await.expect("deleted");
    }

    async fn channel(&self) -> Channel {
        self.direct.create_channel().await.expect("a channel")
    }

    /// Takes a message out of a queue as any AMQP program would.
    async fn get(&self, queue: &str) -> lapin::message::Delivery {
        let channel = self.channel().await;
        let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await;
        got.expect("answers").expect("a message").delivery
    }

    /// Publishes what is no event of ours straight into the queue.
    async fn post(&self, body: &[u8], properties: BasicProperties) {
        self.post_to(self.bench.queue.name, body, properties).await;
    }

    async fn post_to(&self, queue: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let published = channel.basic_publish("".into(), queue.into(), options, body, properties).await;
        published.expect("published").await.expect("confirmed");
    }
}

async fn fresh() -> Own {
    let url = required_variable("TEST_AMQP_URL");
    let direct =
        Connection::connect(&url, ConnectionProperties::default()).await.expect("TEST_AMQP_URL answers");
    let mut through: url::Url = url.parse().expect("TEST_AMQP_URL is a URL");
    let server = format!("{}:{}", through.host_str().expect("a host"), through.port().unwrap_or(5672));
    let proxy = Proxy::before(server).await;
    through.set_host(Some("127.0.0.1")).expect("takes a host");
    through.set_port(Some(proxy.address.port())).expect("takes a port");
    let sources = Sources::system();
    let exchange = format!("test.{}", sources.ids.next());
    let (answer_timeout, required, optional) = (ANSWER_TIMEOUT, None, None);
    let options = RabbitMqOptions { exchange: exchange.clone(), answer_timeout, required, optional };
    let urls: AmqpUrls = through.as_str().parse().expect("a URL");
    let broker = || Arc::new(RabbitMq::with_options(&urls, "test", &sources, options.clone()));
    let (queue, all) = queues(&sources);
    let bench = Bench {
        broker: broker(),
        elsewhere: broker(),
        capabilities: Capabilities { returns_in_order: false },
        sources,
        clock: None,
        queue,
        all,
    };
    Own { bench, proxy, exchange, direct }
}

broker_suite!(fresh);

/// Calls the broker again until it answers, as its callers do.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Result<T, BrokerError>) -> T {
    let calling = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, calling).await.expect("the broker answers again in time")
}

async fn publish_one(broker: &dyn Broker, event: &messaging::Event) -> Result<(), BrokerError> {
    broker.publish(std::slice::from_ref(event)).await.pop().expect("one answer per event")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_connection_is_lost_says_so_and_the_next_one_goes_on() {
    let own = fresh().await;
    let Bench { broker, queue, sources, .. } = &own.bench;
    let mut consumer = broker.consume(*queue, 10).await.expect("a consumer");
    let sent = event(sources, "recharge.succeeded", 1);
    publish_one(broker.as_ref(), &sent).await.expect("confirmed");
    receive(consumer.as_mut(), 1).await;
    own.proxy.cut();
    consumer.receive(1, PATIENCE, LINGER).await.expect_err("the connection is lost");
    drop(consumer);
    let mut next = eventually(async || broker.consume(*queue, 10).await).await;
    let again = receive(next.as_mut(), 1).await;
    assert_eq!(bodies(&again), [sent.to_json()]);
    assert!(again[0].redelivered);
    eventually(async || publish_one(broker.as_ref(), &sent).await).await;
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_whose_confirm_is_lost_is_never_reported_as_stored() {
    let own = fresh().await;
    let Bench { broker, queue, sources, .. } = &own.bench;
    broker.declare(*queue).await.expect("declared");
    publish_one(broker.as_ref(), &event(sources, "recharge.closed", 0)).await.expect("confirmed");
    own.proxy.hold_answers();
    let batch = events(sources, "recharge.succeeded", 20);
    let publishing = broker.publish(&batch);
    let cutting = async {
        let arrived = async || {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let channel = own.channel().await;
            channel.queue_declare(queue.name.into(), options, FieldTable::default()).await.expect("there")
        };
        // Everything is stored, and no confirm has come through: then the connection goes.
        while arrived().await.message_count() < 21 {
            tokio::task::yield_now().await;
        }
        own.proxy.cut();
    };
    let (answers, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(publishing, cutting) })
        .await
        .expect("ends in time");
    assert_eq!(answers.len(), 20);
    assert!(answers.iter().all(|answer| matches!(answer, Err(BrokerError::Unavailable(_)))));
    own.proxy.resume();
    eventually(async || broker.publish(&batch).await.into_iter().collect::<Result<(), _>>()).await;
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_costs_a_bounded_time_and_is_used_again_when_it_goes_on() {
    let own = fresh().await;
    let Bench { broker, queue, sources, .. } = &own.bench;
    broker.declare(*queue).await.expect("declared");
    let sent = event(sources, "recharge.succeeded", 1);
    publish_one(broker.as_ref(), &sent).await.expect("confirmed");
    own.proxy.hang();
    let hung = tokio::time::timeout(ANSWER_TIMEOUT * 3, publish_one(broker.as_ref(), &sent)).await;
    assert!(matches!(hung.expect("in bounded time"), Err(BrokerError::Unavailable(_))));
    own.proxy.resume();
    eventually(async || publish_one(broker.as_ref(), &sent).await).await;
    own.finish().await;
}

/// The bound that the fault page states for a link that died without a sign.
const HEALED_WITHIN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_without_a_sign_are_replaced_within_the_bound() {
    let own = fresh().await;
    let Bench { broker, queue, sources, .. } = &own.bench;
    let mut consumer = broker.consume(*queue, 10).await.expect("a consumer");
    publish_one(broker.as_ref(), &event(sources, "recharge.succeeded", 1)).await.expect("confirmed");
    let first = receive(consumer.as_mut(), 1).await;
    consumer.settle(vec![(first[0].tag, Settlement::Ack)]).await.expect("settled");
    own.proxy.half_open();
    let sent = event(sources, "recharge.succeeded", 2);
    let healed = async {
        eventually(async || publish_one(broker.as_ref(), &sent).await).await;
        consumer.receive(1, HEALED_WITHIN, LINGER).await.expect_err("the heartbeat is missed");
        drop(consumer);
        let mut next = eventually(async || broker.consume(*queue, 10).await).await;
        assert_eq!(bodies(&receive(next.as_mut(), 1).await), [sent.to_json()]);
    };
    tokio::time::timeout(HEALED_WITHIN, healed).await.expect("normal again within the bound");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_fails_while_the_broker_is_down_and_succeeds_after() {
    let own = fresh().await;
    let broker = &own.bench.broker;
    broker.declare(own.bench.queue).await.expect("declared");
    broker.declare(own.bench.all).await.expect("declared");
    broker.check().await.expect("up");
    own.proxy.go_down();
    let failing = async { while broker.check().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, failing).await.expect("notices in time");
    own.proxy.come_up();
    eventually(async || broker.check().await).await;
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let own = fresh().await;
    own.bench.broker.declare(own.bench.queue).await.expect("declared");
    let url = required_variable("TEST_AMQP_URL");
    let server = url.rsplit_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
    let other = Proxy::before(server.to_owned()).await;
    let at = |proxy: &Proxy| url.replace(server, &proxy.address.to_string());
    let urls = format!("{},{}", at(&own.proxy), at(&other)).parse().expect("URLs");
    let (exchange, required) = (own.exchange.clone(), Some(own.bench.queue));
    let options = RabbitMqOptions { exchange, answer_timeout: ANSWER_TIMEOUT, required, optional: None };
    let broker = RabbitMq::with_options(&urls, "test", &own.bench.sources, options);
    let sent = event(&own.bench.sources, "recharge.succeeded", 1);
    own.proxy.go_down();
    publish_one(&broker, &sent).await.expect("the second address answers");
    own.proxy.come_up();
    other.go_down();
    eventually(async || publish_one(&broker, &sent).await).await;
    own.proxy.go_down();
    let both = eventually(async || match broker.check().await {
        Err(error) => Ok(runtime::problem::Chain(&error).to_string()),
        Ok(()) => Err(BrokerError::Refused),
    })
    .await;
    assert!(
        both.contains(&own.proxy.address.to_string()) && both.contains(&other.address.to_string()),
        "{both}"
    );
    own.proxy.come_up();
    broker.close().await;
    let options = ExchangeDeleteOptions::default();
    let deleted =
        own.channel().await.exchange_delete(format!("{}.publish", own.exchange).into(), options).await;
    deleted.expect("deleted");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_notices_that_its_queue_was_deleted() {
    let own = fresh().await;
    let mut consumer = own.bench.broker.consume(own.bench.queue, 10).await.expect("a consumer");
    let name = own.bench.queue.name.into();
    own.channel().await.queue_delete(name, QueueDeleteOptions::default()).await.expect("deleted");
    consumer.receive(1, PATIENCE, LINGER).await.expect_err("cancelled");
    let mut next = own.bench.broker.consume(own.bench.queue, 10).await.expect("declared again");
    assert!(next.receive(1, GLIMPSE, LINGER).await.expect("answers").is_empty());
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_declared_in_another_way_is_a_conflict_that_names_it() {
    let own = fresh().await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let name = own.bench.queue.name;
    own.channel().await.queue_declare(name.into(), options, FieldTable::default()).await.expect("classic");
    let error = own.bench.broker.declare(own.bench.queue).await.expect_err("another type of queue");
    assert!(matches!(&error, BrokerError::Conflict(text) if text.contains(name)), "{error}");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_an_ordinary_message_with_its_headers_and_the_reason() {
    let own = fresh().await;
    let mut consumer = own.bench.broker.consume(own.bench.queue, 10).await.expect("a consumer");
    let mut headers = FieldTable::default();
    headers.insert("tenant".into(), AMQPValue::LongString("a".into()));
    let properties = BasicProperties::default().with_headers(headers).with_expiration("60000".into());
    own.post(b"no event", properties).await;
    let foreign = receive(consumer.as_mut(), 1).await;
    let reason = "not a CloudEvents 1.0 JSON event".to_owned();
    consumer.settle(vec![(foreign[0].tag, Settlement::DeadLetter { reason })]).await.expect("settled");
    let dead = own.get(&own.bench.queue.dead()).await;
    let header = |name| text_header(&dead, name);
    assert_eq!(dead.data, b"no event");
    assert_eq!(header("tenant"), "a");
    assert_eq!(header(REASON_HEADER), "not a CloudEvents 1.0 JSON event");
    assert!(dead.properties.expiration().is_none(), "a dead letter does not expire");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_in_the_queue_of_its_step_with_its_headers() {
    let own = fresh().await;
    let Bench { broker, queue, .. } = &own.bench;
    let step = HumanDuration(Duration::from_secs(90));
    broker.declare_steps(*queue, &[step, step]).await.expect("declared");
    let mut consumer = broker.consume(*queue, 10).await.expect("a consumer");
    own.post(b"{}", BasicProperties::default().with_timestamp(1_767_225_600)).await;
    let delivery = receive(consumer.as_mut(), 1).await;
    let reason = "there is no such account".to_owned();
    consumer.settle(vec![(delivery[0].tag, Settlement::Retry { step, reason })]).await.expect("settled");
    let name = format!("{}.retry.90s", queue.name);
    let waiting = own.get(&name).await;
    assert_eq!(waiting.data, b"{}");
    assert_eq!(text_header(&waiting, FIRST_PUBLISHED_HEADER), "2026-01-01T00:00:00.000000Z");
    assert_eq!(text_header(&waiting, REASON_HEADER), "there is no such account");
    let headers = waiting.properties.headers().clone().expect("headers");
    assert_eq!(headers.inner().get(ATTEMPTS_HEADER), Some(&AMQPValue::LongLongInt(1)));
    own.channel().await.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("deleted");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_can_t_move_keeps_no_other_from_being_acknowledged() {
    let own = fresh().await;
    let Bench { broker, elsewhere, queue, sources, .. } = &own.bench;
    let mut consumer = broker.consume(*queue, 10).await.expect("a consumer");
    let sent = events(sources, "recharge.succeeded", 2);
    broker.publish(&sent).await;
    let both = receive(consumer.as_mut(), 2).await;
    let undeclared = HumanDuration(Duration::from_secs(7));
    let retry = Settlement::Retry { step: undeclared, reason: "not yet".into() };
    let settlements = vec![(both[0].tag, retry), (both[1].tag, Settlement::Ack)];
    consumer.settle(settlements).await.expect_err("no queue takes the first");
    drop(consumer);
    let mut next = elsewhere.consume(*queue, 10).await.expect("a consumer");
    assert_eq!(bodies(&receive(next.as_mut(), 1).await), [sent[0].to_json()]);
    assert!(next.receive(1, GLIMPSE * 4, LINGER).await.expect("answers").is_empty());
    own.finish().await;
}

/// More than are taken at once, and none of them with an id.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_put_among_the_dead_letters_is_listed_and_requeued_too() {
    let own = fresh().await;
    let Bench { broker, queue, .. } = &own.bench;
    let dead = broker.dead_letters(*queue).await.expect("there");
    for number in 0..120 {
        let body = format!("letter {number}");
        own.post_to(&queue.dead(), body.as_bytes(), BasicProperties::default()).await;
    }
    let page = Page { limit: 200, after: None };
    let all = dead.list(page).await.expect("listed");
    assert_eq!(all.len(), 120);
    assert!(dead.requeue(all[60].id).await.expect("requeued"));
    assert_eq!(own.get(queue.name).await.data, &all[60].body[..]);
    assert_eq!(dead.list(page).await.expect("listed").len(), 119);
    own.get(&queue.dead()).await; // They are there for everybody.
    own.finish().await;
}

fn text_header(message: &lapin::message::Delivery, name: &str) -> String {
    match message.properties.headers().as_ref().expect("headers").inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_event_carries_the_properties_of_the_contract() {
    let own = fresh().await;
    own.bench.broker.declare(own.bench.queue).await.expect("declared");
    let sent = event(&own.bench.sources, "recharge.succeeded", 1);
    publish_one(own.bench.broker.as_ref(), &sent).await.expect("confirmed");
    let got = own.get(own.bench.queue.name).await;
    let text = |field: &Option<lapin::types::ShortString>| field.as_ref().map(ToString::to_string);
    assert_eq!(text(got.properties.content_type()).as_deref(), Some("application/cloudevents+json"));
    assert_eq!(text(got.properties.message_id()), Some(sent.id.clone()));
    assert_eq!(text(got.properties.kind()).as_deref(), Some("recharge.succeeded"));
    assert_eq!(*got.properties.delivery_mode(), Some(2), "persistent");
    assert_eq!(got.routing_key.to_string(), "recharge.succeeded");
    own.finish().await;
}
