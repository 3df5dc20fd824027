//! The suite every broker passes.

use std::sync::Arc;
use std::time::Duration;

use messaging::broker::{Broker, BrokerError, Queue, Settlement};
use messaging::event::MAX_EVENT_BYTES;
use runtime::Sources;
use runtime::testing::ManualClock;

pub use super::moves::*;
use super::{GLIMPSE, LINGER, PATIENCE, bodies, event, events, published, receive};

/// Where brokers may differ.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// Messages that come back are handed out in their first order. A quorum queue of `RabbitMQ`
    /// may put them behind newer ones.
    pub returns_in_order: bool,
}

/// A broker of a test's own, its queues named for that test.
pub struct Bench {
    pub broker: Arc<dyn Broker>,
    /// The same broker seen from another process.
    pub elsewhere: Arc<dyn Broker>,
    pub capabilities: Capabilities,
    pub sources: Sources,
    /// Where steps pass by it; elsewhere they take their time.
    pub clock: Option<ManualClock>,
    /// Takes all recharges.
    pub queue: Queue,
    /// Takes everything.
    pub all: Queue,
}

/// Makes the queues of a test; their names live as long as the program.
pub fn queues(sources: &Sources) -> (Queue, Queue) {
    let name = |what: &str| -> &'static str { format!("test.{}.{what}", sources.ids.next()).leak() };
    (Queue { name: name("recharges"), binding: "recharge.*" }, Queue { name: name("all"), binding: "#" })
}

impl Bench {
    /// Lets `time` pass for the broker, as far as that is for us to say.
    pub fn pass(&self, time: Duration) {
        if let Some(clock) = &self.clock {
            clock.advance(time);
        }
    }

    pub fn has_its_own_clock(&self) -> bool {
        self.clock.is_some()
    }

    pub async fn publish_all(&self, kind: &str, count: usize) -> Vec<Vec<u8>> {
        let events = events(&self.sources, kind, count);
        for answer in self.broker.publish(&events).await {
            answer.expect("confirmed");
        }
        published(&events)
    }
}

pub async fn messages_arrive_in_order_and_byte_for_byte(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 1000).await.expect("a consumer");
    let sent = bench.publish_all("recharge.succeeded", 300).await;
    let deliveries = receive(consumer.as_mut(), 300).await;
    assert_eq!(bodies(&deliveries), sent);
    assert!(deliveries.iter().all(|delivery| !delivery.redelivered && delivery.history.reason.is_none()));
}

pub async fn a_confirmed_message_is_stored_before_anybody_consumes(bench: &Bench) {
    bench.broker.declare(bench.queue).await.expect("declared");
    let sent = bench.publish_all("recharge.failed", 1).await;
    let mut consumer = bench.elsewhere.consume(bench.queue, 10).await.expect("a consumer");
    assert_eq!(bodies(&receive(consumer.as_mut(), 1).await), sent);
}

pub async fn declaring_twice_changes_nothing(bench: &Bench) {
    bench.broker.declare(bench.queue).await.expect("declared");
    bench.elsewhere.declare(bench.queue).await.expect("declared again");
    bench.publish_all("recharge.failed", 1).await;
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    receive(consumer.as_mut(), 1).await;
    let more = consumer.receive(1, GLIMPSE, LINGER).await.expect("answers");
    assert!(more.is_empty(), "bound twice");
}

pub async fn each_bound_queue_gets_its_own_copy(bench: &Bench) {
    let mut recharges = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let mut all = bench.broker.consume(bench.all, 10).await.expect("a consumer");
    let sent = bench.publish_all("recharge.succeeded", 2).await;
    let other = bench.publish_all("order.paid", 1).await;
    let deliveries = receive(recharges.as_mut(), 2).await;
    assert_eq!(bodies(&deliveries), sent);
    let acks = deliveries.iter().map(|delivery| (delivery.tag, Settlement::Ack)).collect();
    recharges.settle(acks).await.expect("settled");
    assert_eq!(bodies(&receive(all.as_mut(), 3).await), [sent, other].concat());
}

pub async fn only_the_event_that_no_queue_takes_is_unroutable(bench: &Bench) {
    bench.broker.declare(bench.queue).await.expect("declared");
    let mixed = [
        event(&bench.sources, "recharge.closed", 1),
        event(&bench.sources, "nobody.cares", 2),
        event(&bench.sources, "recharge.closed", 3),
        event(&bench.sources, "nobody.cares", 4),
    ];
    let answers = bench.broker.publish(&mixed).await;
    assert!(matches!(
        answers.as_slice(),
        [Ok(()), Err(BrokerError::Unroutable), Ok(()), Err(BrokerError::Unroutable)]
    ));
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let taken = bodies(&receive(consumer.as_mut(), 2).await);
    assert_eq!(taken, [mixed[0].to_json(), mixed[2].to_json()]);
}

pub async fn an_event_that_no_receiver_would_take_is_refused(bench: &Bench) {
    bench.broker.declare(bench.queue).await.expect("declared");
    let mut large = event(&bench.sources, "recharge.closed", 1);
    large.data = serde_json::value::to_raw_value(&"x".repeat(MAX_EVENT_BYTES)).expect("JSON");
    let answers = bench.broker.publish(&[large, event(&bench.sources, "recharge.closed", 2)]).await;
    assert!(matches!(answers.as_slice(), [Err(BrokerError::TooLarge), Ok(())]));
}

pub async fn what_is_unsettled_when_its_consumer_is_dropped_comes_again(bench: &Bench) {
    let mut first = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let mut sent = bench.publish_all("recharge.succeeded", 3).await;
    let deliveries = receive(first.as_mut(), 3).await;
    first.settle(vec![(deliveries[0].tag, Settlement::Ack)]).await.expect("settled");
    drop(first);
    let mut second = bench.elsewhere.consume(bench.queue, 10).await.expect("a consumer");
    let again = receive(second.as_mut(), 2).await;
    assert!(again.iter().all(|delivery| delivery.redelivered));
    let (mut came, mut expected) = (bodies(&again), sent.split_off(1));
    if !bench.capabilities.returns_in_order {
        came.sort();
        expected.sort();
    }
    assert_eq!(came, expected);
}

pub async fn what_is_settled_never_comes_again(bench: &Bench) {
    let mut first = bench.broker.consume(bench.queue, 100).await.expect("a consumer");
    bench.publish_all("recharge.succeeded", 50).await;
    let deliveries = receive(first.as_mut(), 50).await;
    let acks = deliveries.iter().map(|delivery| (delivery.tag, Settlement::Ack)).collect();
    first.settle(acks).await.expect("settled");
    drop(first);
    let mut second = bench.elsewhere.consume(bench.queue, 100).await.expect("a consumer");
    assert!(second.receive(100, GLIMPSE * 4, LINGER).await.expect("answers").is_empty());
}

pub async fn a_requeued_message_is_handed_out_again_and_says_so(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let sent = bench.publish_all("recharge.succeeded", 1).await;
    let first = receive(consumer.as_mut(), 1).await;
    consumer.settle(vec![(first[0].tag, Settlement::Requeue)]).await.expect("settled");
    let second = receive(consumer.as_mut(), 1).await;
    assert_eq!(bodies(&second), sent);
    assert!(second[0].redelivered);
}

/// A quorum queue of `RabbitMQ` 4 would drop it after twenty.
pub async fn a_message_may_come_back_any_number_of_times(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let sent = bench.publish_all("recharge.succeeded", 1).await;
    for _ in 0..30 {
        let delivery = receive(consumer.as_mut(), 1).await;
        assert_eq!(bodies(&delivery), sent);
        consumer.settle(vec![(delivery[0].tag, Settlement::Requeue)]).await.expect("settled");
    }
    assert_eq!(bodies(&receive(consumer.as_mut(), 1).await), sent);
}

pub async fn no_more_than_the_prefetch_is_out_unsettled(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 3).await.expect("a consumer");
    bench.publish_all("recharge.succeeded", 5).await;
    let first = receive(consumer.as_mut(), 3).await;
    assert!(consumer.receive(10, GLIMPSE, LINGER).await.expect("answers").is_empty());
    let acks = first.iter().map(|delivery| (delivery.tag, Settlement::Ack)).collect();
    consumer.settle(acks).await.expect("settled");
    assert_eq!(receive(consumer.as_mut(), 2).await.len(), 2);
}

pub async fn a_batch_is_no_larger_than_asked(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 100).await.expect("a consumer");
    bench.publish_all("recharge.succeeded", 10).await;
    let batch = consumer.receive(4, PATIENCE, LINGER).await.expect("received");
    assert!((1..=4).contains(&batch.len()));
    assert_eq!(receive(consumer.as_mut(), 10 - batch.len()).await.len(), 10 - batch.len());
}

pub async fn messages_within_the_linger_share_a_batch(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 100).await.expect("a consumer");
    let publishing = async {
        bench.publish_all("recharge.succeeded", 1).await;
        bench.publish_all("recharge.failed", 1).await;
    };
    let (batch, ()) = tokio::join!(consumer.receive(2, PATIENCE, PATIENCE / 20), publishing);
    assert_eq!(batch.expect("received").len(), 2);
}

pub async fn a_wait_without_messages_ends_with_an_empty_batch(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    assert!(consumer.receive(10, GLIMPSE, LINGER).await.expect("answers").is_empty());
    let sent = bench.publish_all("recharge.succeeded", 1).await;
    assert_eq!(bodies(&receive(consumer.as_mut(), 1).await), sent);
}

pub async fn a_waiting_consumer_hears_of_messages_from_another_process(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let event = event(&bench.sources, "recharge.succeeded", 1);
    let publishing = bench.elsewhere.publish(std::slice::from_ref(&event));
    let (batch, answers) = tokio::join!(receive(consumer.as_mut(), 1), publishing);
    assert!(answers[0].is_ok());
    assert_eq!(bodies(&batch), [event.to_json()]);
}

pub async fn two_consumers_share_a_queue_without_overlap(bench: &Bench) {
    let mut one = bench.broker.consume(bench.queue, 5).await.expect("a consumer");
    let mut two = bench.elsewhere.consume(bench.queue, 5).await.expect("a consumer");
    let mut sent = bench.publish_all("recharge.succeeded", 10).await;
    let mut came = bodies(&receive(one.as_mut(), 5).await);
    came.extend(bodies(&receive(two.as_mut(), 5).await));
    came.sort();
    sent.sort();
    assert_eq!(came, sent);
}

pub async fn publishing_nothing_answers_nothing(bench: &Bench) {
    assert!(bench.broker.publish(&[]).await.is_empty());
}

pub async fn a_living_broker_answers_the_check(bench: &Bench) {
    bench.broker.check().await.expect("alive");
}

/// One test per sentence of the suite, each on a bench from `$fresh`.
#[macro_export]
macro_rules! broker_suite {
    ($fresh:path: $($name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let own = $fresh().await;
            $crate::support::broker::$name(&own.bench).await;
            own.finish().await;
        }
    )* };
    ($fresh:path) => {
        $crate::broker_suite! { $fresh:
            messages_arrive_in_order_and_byte_for_byte
            a_confirmed_message_is_stored_before_anybody_consumes
            declaring_twice_changes_nothing
            each_bound_queue_gets_its_own_copy
            only_the_event_that_no_queue_takes_is_unroutable
            an_event_that_no_receiver_would_take_is_refused
            what_is_unsettled_when_its_consumer_is_dropped_comes_again
            what_is_settled_never_comes_again
            a_requeued_message_is_handed_out_again_and_says_so
            a_message_may_come_back_any_number_of_times
            a_retried_message_comes_again_after_its_step_and_tells_what_happened
            equal_steps_follow_each_other_as_often_as_asked
            a_message_whose_step_has_no_queue_is_not_lost
            a_dead_letter_keeps_its_body_and_tells_what_happened
            dead_letters_are_listed_newest_first_and_stay_where_they_are
            a_dead_letter_is_found_by_its_id
            a_requeued_dead_letter_is_a_fresh_message
            those_who_look_at_once_each_see_every_dead_letter
            no_more_than_the_prefetch_is_out_unsettled
            a_batch_is_no_larger_than_asked
            messages_within_the_linger_share_a_batch
            a_wait_without_messages_ends_with_an_empty_batch
            a_waiting_consumer_hears_of_messages_from_another_process
            two_consumers_share_a_queue_without_overlap
            publishing_nothing_answers_nothing
            a_living_broker_answers_the_check
        }
    };
}
