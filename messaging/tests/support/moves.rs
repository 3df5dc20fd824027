//! The part of the broker suite about messages that move: up the ladder, to the dead letters, back.

use std::time::Duration;

use messaging::broker::{Consumer, DeadLetter, Settlement};
use runtime::duration::HumanDuration;
use runtime::http::Page;
use uuid::Uuid;

use super::broker::Bench;
use super::{GLIMPSE, LINGER, bodies, receive};

/// Long enough to see that a message waits.
const SLOW: HumanDuration = HumanDuration(Duration::from_millis(600));
/// Too short to wait for.
const QUICK: HumanDuration = HumanDuration(Duration::from_millis(20));
/// Every step of the suite.
pub const STEPS: [HumanDuration; 2] = [SLOW, QUICK];

const REASON: &str = "there is no such account";

fn retry(step: HumanDuration) -> Settlement {
    Settlement::Retry { step, reason: REASON.into() }
}

fn give_up() -> Settlement {
    Settlement::DeadLetter { reason: REASON.into() }
}

impl Bench {
    async fn consumer_on_a_ladder(&self) -> Box<dyn Consumer> {
        self.broker.declare_steps(self.queue, &STEPS).await.expect("declared");
        self.broker.consume(self.queue, 1000).await.expect("a consumer")
    }

    /// Publishes `count` messages and gives them up one after the other; their bodies.
    async fn give_up(&self, count: usize) -> Vec<Vec<u8>> {
        let mut consumer = self.broker.consume(self.queue, 1000).await.expect("a consumer");
        let sent = self.publish_all("recharge.succeeded", count).await;
        let deliveries = receive(consumer.as_mut(), count).await;
        let settlements = deliveries.iter().map(|delivery| (delivery.tag, give_up())).collect();
        consumer.settle(settlements).await.expect("settled");
        sent
    }

    async fn listed(&self, limit: u16, after: Option<Uuid>) -> Vec<DeadLetter> {
        let dead = self.broker.dead_letters(self.queue).await.expect("there");
        dead.list(Page { limit, after }).await.expect("listed")
    }
}

pub async fn a_retried_message_comes_again_after_its_step_and_tells_what_happened(bench: &Bench) {
    let mut consumer = bench.consumer_on_a_ladder().await;
    let sent = bench.publish_all("recharge.succeeded", 2).await;
    let first = receive(consumer.as_mut(), 2).await;
    let published = first[0].history.first_published_at;
    assert!(published.is_some() && first[0].history.attempts == 0);
    let before = tokio::time::Instant::now();
    let settlements = vec![(first[0].tag, retry(SLOW)), (first[1].tag, Settlement::Ack)];
    consumer.settle(settlements).await.expect("settled");
    assert!(consumer.receive(1, GLIMPSE, LINGER).await.expect("answers").is_empty());
    bench.pass(SLOW.0);
    let again = receive(consumer.as_mut(), 1).await;
    assert!(bench.has_its_own_clock() || before.elapsed() >= SLOW.0, "too early");
    assert_eq!(bodies(&again), sent[..1]);
    assert!(!again[0].redelivered, "as if it were new");
    let history = &again[0].history;
    assert_eq!((history.first_published_at, history.attempts), (published, 1));
    assert_eq!(history.reason.as_deref(), Some(REASON));
}

/// A broker could take a message that waits in the same queue again and again for one in a circle.
pub async fn equal_steps_follow_each_other_as_often_as_asked(bench: &Bench) {
    let mut consumer = bench.consumer_on_a_ladder().await;
    bench.publish_all("recharge.succeeded", 1).await;
    for attempts in 0..5 {
        let delivery = receive(consumer.as_mut(), 1).await;
        assert_eq!(delivery[0].history.attempts, attempts);
        consumer.settle(vec![(delivery[0].tag, retry(QUICK))]).await.expect("settled");
        bench.pass(QUICK.0);
    }
}

pub async fn a_message_whose_step_has_no_queue_is_not_lost(bench: &Bench) {
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let sent = bench.publish_all("recharge.succeeded", 1).await;
    let delivery = receive(consumer.as_mut(), 1).await;
    let undeclared = HumanDuration(Duration::from_secs(7));
    consumer.settle(vec![(delivery[0].tag, retry(undeclared))]).await.expect_err("no queue takes it");
    drop(consumer);
    let mut next = bench.elsewhere.consume(bench.queue, 10).await.expect("a consumer");
    let again = receive(next.as_mut(), 1).await;
    assert_eq!((bodies(&again), again[0].history.attempts), (sent, 0));
}

pub async fn a_dead_letter_keeps_its_body_and_tells_what_happened(bench: &Bench) {
    let mut consumer = bench.consumer_on_a_ladder().await;
    let sent = bench.publish_all("recharge.succeeded", 1).await;
    let first = receive(consumer.as_mut(), 1).await;
    consumer.settle(vec![(first[0].tag, retry(QUICK))]).await.expect("settled");
    bench.pass(QUICK.0);
    let second = receive(consumer.as_mut(), 1).await;
    consumer.settle(vec![(second[0].tag, give_up())]).await.expect("settled");
    assert!(consumer.receive(1, GLIMPSE, LINGER).await.expect("answers").is_empty());
    let dead = bench.listed(10, None).await;
    assert_eq!((dead.len(), &dead[0].body[..], dead[0].size), (1, &sent[0][..], sent[0].len()));
    assert_eq!(dead[0].history.first_published_at, first[0].history.first_published_at);
    assert_eq!((dead[0].history.attempts, dead[0].history.reason.as_deref()), (2, Some(REASON)));
    assert!(dead[0].dead_lettered_at >= dead[0].history.first_published_at);
}

pub async fn dead_letters_are_listed_newest_first_and_stay_where_they_are(bench: &Bench) {
    let sent = bench.give_up(5).await;
    for _ in 0..2 {
        let all = bench.listed(10, None).await;
        let listed: Vec<_> = all.iter().rev().map(|letter| letter.body.to_vec()).collect();
        assert_eq!(listed, sent);
        let page = bench.listed(2, None).await;
        assert_eq!(page, all[..3], "one more than the page holds");
        assert_eq!(bench.listed(2, Some(page[1].id)).await, all[2..5]);
        assert!(bench.listed(2, Some(all[4].id)).await.is_empty());
    }
}

pub async fn a_dead_letter_is_found_by_its_id(bench: &Bench) {
    bench.give_up(3).await;
    let all = bench.listed(10, None).await;
    let dead = bench.elsewhere.dead_letters(bench.queue).await.expect("there");
    assert_eq!(dead.find(all[1].id).await.expect("answers").as_ref(), Some(&all[1]));
    assert_eq!(dead.find(Uuid::nil()).await.expect("answers"), None);
}

pub async fn a_requeued_dead_letter_is_a_fresh_message(bench: &Bench) {
    bench.give_up(3).await;
    let all = bench.listed(10, None).await;
    let dead = bench.broker.dead_letters(bench.queue).await.expect("there");
    assert!(dead.requeue(all[1].id).await.expect("requeued"));
    assert!(!dead.requeue(all[1].id).await.expect("answers"), "it is there no more");
    assert_eq!(bench.listed(10, None).await, [all[0].clone(), all[2].clone()]);
    let mut consumer = bench.broker.consume(bench.queue, 10).await.expect("a consumer");
    let fresh = receive(consumer.as_mut(), 1).await;
    assert_eq!(fresh[0].body, all[1].body);
    let history = &fresh[0].history;
    assert_eq!(history.first_published_at, all[1].history.first_published_at);
    assert_eq!((history.attempts, history.reason.as_deref()), (0, None));
    consumer.settle(vec![(fresh[0].tag, give_up())]).await.expect("settled");
    let again = bench.listed(10, None).await;
    assert_eq!((again.len(), again[0].history.attempts), (3, 1));
    assert_ne!(again[0].id, all[1].id, "given up anew");
}

pub async fn those_who_look_at_once_each_see_every_dead_letter(bench: &Bench) {
    bench.give_up(4).await;
    let here = bench.broker.dead_letters(bench.queue).await.expect("there");
    let there = bench.elsewhere.dead_letters(bench.queue).await.expect("there");
    let page = Page { limit: 10, after: None };
    for _ in 0..3 {
        let (one, two, three) = tokio::join!(here.list(page), there.list(page), here.list(page));
        for list in [one, two, three] {
            assert_eq!(list.expect("listed").len(), 4);
        }
    }
}
