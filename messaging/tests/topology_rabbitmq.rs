//! What happens to events when somebody deletes exchanges, queues and bindings under running programs.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use messaging::Event;
use messaging::broker::{Broker, BrokerError, Queue, RabbitMq, RabbitMqOptions, check_queue};
use prometheus::Registry;
use runtime::Sources;
use runtime::testing::required_variable;
use support::broker::queues;
use support::{PATIENCE, events};
use tokio::sync::watch;

/// A publisher that requires `queue`, and the topology that other programs see.
struct Own {
    broker: RabbitMq,
    elsewhere: RabbitMq,
    registry: Registry,
    sources: Sources,
    exchange: String,
    /// Must receive everything.
    queue: Queue,
    /// Of another program, which takes recharges only.
    other: Queue,
    direct: Connection,
}

async fn fresh() -> Own {
    let url = required_variable("TEST_AMQP_URL");
    let direct = Connection::connect(&url, ConnectionProperties::default()).await.expect("it answers");
    let sources = Sources::system();
    let exchange = format!("test.{}", sources.ids.next());
    let (other, queue) = queues(&sources);
    let options = RabbitMqOptions {
        exchange: exchange.clone(),
        answer_timeout: Duration::from_secs(10),
        required: Some(queue),
        optional: Some(other),
    };
    let urls = url.parse().expect("TEST_AMQP_URL is a URL");
    let broker = || RabbitMq::with_options(&urls, "test", &sources, options.clone());
    let (broker, elsewhere, registry) = (broker(), broker(), Registry::new());
    broker.register(&registry).expect("registered");
    Own { broker, elsewhere, registry, sources, exchange, queue, other, direct }
}

impl Own {
    fn event(&self) -> Vec<Event> {
        events(&self.sources, "recharge.succeeded", 1)
    }

    async fn channel(&self) -> Channel {
        self.direct.create_channel().await.expect("a channel")
    }

    async fn try_publish(&self, batch: &[Event]) -> Result<(), BrokerError> {
        self.broker.publish(batch).await.into_iter().collect()
    }

    /// Publishes as the relay does: again until it is confirmed.
    async fn publish(&self, batch: &[Event]) {
        let publishing = async {
            while self.try_publish(batch).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, publishing).await.expect("confirmed in time");
    }

    async fn unbind(&self, queue: Queue) {
        let channel = self.channel().await;
        let (name, exchange) = (queue.name.into(), self.exchange.as_str().into());
        channel
            .queue_unbind(name, exchange, queue.binding.into(), FieldTable::default())
            .await
            .expect("unbound");
    }

    async fn delete_exchange(&self, name: &str) {
        let options = ExchangeDeleteOptions::default();
        self.channel().await.exchange_delete(name.into(), options).await.expect("deleted");
    }

    async fn delete_queue(&self, queue: Queue) {
        let options = QueueDeleteOptions::default();
        self.channel().await.queue_delete(queue.name.into(), options).await.expect("deleted");
    }

    /// The ids of the events that are in `queue`, which is emptied.
    async fn received(&self, queue: Queue) -> HashSet<String> {
        let (channel, mut ids) = (self.channel().await, HashSet::new());
        let get = async || channel.basic_get(queue.name.into(), BasicGetOptions { no_ack: true }).await;
        while let Some(message) = get().await.expect("answers") {
            ids.insert(Event::parse(&message.delivery.data).expect("an event").id);
        }
        ids
    }

    fn losses(&self) -> f64 {
        let family = &self.registry.gather()[0];
        assert_eq!(family.name(), "ringback_broker_topology_losses_total");
        family.get_metric()[0].get_counter().get_value()
    }

    async fn finish(self) {
        for queue in [self.queue, self.other] {
            let dead = queue.dead();
            self.delete_queue(queue).await;
            let options = QueueDeleteOptions::default();
            self.channel().await.queue_delete(dead.as_str().into(), options).await.expect("deleted");
        }
        self.delete_exchange(&format!("{}.publish", self.exchange)).await;
        self.delete_exchange(&self.exchange).await;
        tokio::join!(self.broker.close(), self.elsewhere.close());
    }
}

fn ids(events: &[Event]) -> HashSet<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_is_deleted_between_two_checks_costs_the_notifier_no_event() {
    let own = fresh().await;
    own.broker.declare(own.other).await.expect("declared");
    let first = own.event();
    own.publish(&first).await;
    own.unbind(own.queue).await;
    let second = own.event();
    own.try_publish(&second).await.expect("the queue is bound to the publishers' exchange as well");
    assert_eq!(own.received(own.queue).await, ids(&[first, second].concat()));
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_gets_each_event_once() {
    let own = fresh().await;
    own.broker.declare(own.other).await.expect("declared");
    own.publish(&events(&own.sources, "recharge.failed", 50)).await;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    for queue in [own.queue, own.other] {
        let asked =
            own.channel().await.queue_declare(queue.name.into(), passive, FieldTable::default()).await;
        assert_eq!(asked.expect("there").message_count(), 50, "{}", queue.name);
    }
    own.finish().await;
}

/// Another queue takes the events all the time, so `mandatory` is satisfied.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_and_made_again_by_others_is_noticed_before_an_event_counts_as_published() {
    let own = fresh().await;
    own.broker.declare(own.other).await.expect("declared");
    own.publish(&own.event()).await;
    for made_again in [false, true] {
        own.delete_queue(own.queue).await;
        if made_again {
            own.elsewhere.declare(own.queue).await.expect("declared");
        }
        let (batch, losses) = (events(&own.sources, "recharge.succeeded", 20), own.losses());
        let error = own.try_publish(&batch).await.expect_err("nobody can say where they are");
        assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
        assert!(own.losses() > losses, "counted");
        own.publish(&batch).await;
        assert!(own.received(own.queue).await.is_superset(&ids(&batch)));
    }
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_deleted_costs_nobody_an_event() {
    let own = fresh().await;
    // It has a consumer, so it is bound again together with the required one.
    let _consumer = own.elsewhere.consume(own.other, 1).await.expect("a consumer");
    own.publish(&own.event()).await;
    for made_again in [false, true] {
        own.delete_exchange(&own.exchange).await;
        if made_again {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let (name, none) = (own.exchange.as_str().into(), FieldTable::default());
            let declared =
                own.channel().await.exchange_declare(name, ExchangeKind::Topic, options, none).await;
            declared.expect("another program makes it without bindings");
        }
        let (batch, losses) = (events(&own.sources, "recharge.succeeded", 20), own.losses());
        own.try_publish(&batch).await.expect_err("the others may have missed them");
        assert!(own.losses() > losses, "counted");
        own.publish(&batch).await;
        assert!(own.received(own.queue).await.is_superset(&ids(&batch)));
        assert!(own.received(own.other).await.is_superset(&ids(&batch)), "made again: {made_again}");
    }
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publishers_own_exchange_is_made_again_when_it_is_deleted() {
    let own = fresh().await;
    own.publish(&own.event()).await;
    own.delete_exchange(&format!("{}.publish", own.exchange)).await;
    let batch = own.event();
    own.try_publish(&batch).await.expect_err("there is no such exchange");
    own.publish(&batch).await;
    assert!(own.received(own.queue).await.is_superset(&ids(&batch)));
    assert!(own.losses() > 0.0);
    own.finish().await;
}

/// Deletions strike in the middle of batches.
#[tokio::test(flavor = "multi_thread")]
async fn no_confirmed_event_is_missing_after_any_number_of_deletions_under_load() {
    let own = Arc::new(fresh().await);
    let _consumer = own.elsewhere.consume(own.other, 1).await.expect("a consumer");
    let sender = own.clone();
    let (count, mut batches) = watch::channel(0);
    let publishing = tokio::spawn(async move {
        let mut sent = HashSet::new();
        for number in 0..60 {
            count.send_replace(number);
            let batch = events(&sender.sources, "recharge.succeeded", 50);
            sender.publish(&batch).await;
            sent.extend(ids(&batch));
        }
        sent
    });
    let mut turn = 0;
    // One for each batch, while it is published.
    while batches.changed().await.is_ok() {
        match turn % 3 {
            0 => own.delete_exchange(&own.exchange).await,
            1 => own.unbind(own.queue).await,
            _ => own.unbind(own.other).await,
        }
        turn += 1;
    }
    let published = publishing.await.expect("published");
    assert_eq!(published.len(), 3000);
    assert!(turn > 3, "the deletions struck while events were published");
    let missing = published.difference(&own.received(own.queue).await).count();
    assert_eq!(missing, 0, "of the required queue after {turn} deletions");
    Arc::into_inner(own).expect("the publisher has ended").finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_publishers_share_the_exchange_and_each_notices_losses_itself() {
    let own = fresh().await;
    own.publish(&own.event()).await;
    let second = own.event();
    own.elsewhere.publish(&second).await.into_iter().collect::<Result<(), _>>().expect("confirmed");
    own.delete_queue(own.queue).await;
    let batch = own.event();
    own.try_publish(&batch).await.expect_err("the queue is gone");
    own.publish(&batch).await;
    // Whoever published first made everything again; the other's marks are gone all the same.
    let third = own.event();
    let answers: Result<(), BrokerError> = own.elsewhere.publish(&third).await.into_iter().collect();
    answers.expect_err("the queue was gone in between");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_makes_a_lost_binding_again_and_counts_it() {
    let own = fresh().await;
    own.broker.declare(own.other).await.expect("declared");
    own.broker.declare(own.other).await.expect("declared");
    assert!(own.losses() < 0.5, "nothing was lost");
    own.delete_exchange(&own.exchange).await;
    own.elsewhere.declare(own.queue).await.expect("another program makes the exchange again");
    own.broker.declare(own.other).await.expect("declared");
    assert!((own.losses() - 1.0).abs() < 0.5);
    own.publish(&own.event()).await;
    assert_eq!(own.received(own.other).await.len(), 1);
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_a_queue_that_was_declared_in_another_way() {
    let own = fresh().await;
    check_queue(&own.broker, own.queue).await.expect("ready");
    own.delete_queue(own.queue).await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared =
        own.channel().await.queue_declare(own.queue.name.into(), options, FieldTable::default()).await;
    declared.expect("a classic queue");
    let binding = (own.queue.name.into(), own.exchange.as_str().into(), "#".into());
    let options = QueueBindOptions::default();
    let bound =
        own.channel().await.queue_bind(binding.0, binding.1, binding.2, options, FieldTable::default()).await;
    bound.expect("bound");
    let error = check_queue(&own.broker, own.queue).await.expect_err("another type of queue");
    let shown = error.downcast_ref::<runtime::http::NotReady>().expect("shown to callers").to_string();
    assert!(shown.contains(own.queue.name) && shown.contains("x-queue-type"), "{shown}");
    let error = own.try_publish(&own.event()).await.expect_err("it is not the queue that must receive");
    assert!(matches!(&error, BrokerError::Conflict(_) | BrokerError::Unavailable(_)), "{error}");
    own.finish().await;
}
