//! Results from the queue (law 3).

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::{CreditSource, Recharge, Status};
use messaging::broker::{Queue, RECHARGE_RESULTS};
use messaging::{Broker, Event};
use runtime::background::Worker;
use runtime::testing::manual_sources;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::service::World;
use crate::support::{as_json, open_account, paid, pay_service, tx};

/// What was given up, as a queue of its own.
const DEAD: Queue = Queue { name: "account.recharge-results.dead", binding: "dead" };

struct WithQueue {
    world: World,
    broker: Arc<dyn Broker>,
    intake: Box<dyn Worker>,
    _folder: tempfile::TempDir,
}

impl WithQueue {
    async fn new(database: Database) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("broker.db").display()).parse().expect("a URL");
        let (sources, _) = manual_sources(3);
        let broker = messaging::broker::open(&url, "test", &sources).await.expect("opens");
        broker.declare(RECHARGE_RESULTS).await.expect("declares");
        let pay_service = Arc::new(pay_service::client("http://127.0.0.1:9"));
        let world = World::with(database, pay_service, Some(broker.clone())).await;
        open_account(&*world.store, "A").await;
        let intake = world.intake.lock().expect("no panic").take().expect("there is a queue");
        Self { world, broker, intake, _folder: folder }
    }

    async fn publish(&self, recharges: &[Recharge]) {
        let events: Vec<Event> =
            recharges.iter().zip(1..).map(|(recharge, number)| event(recharge, number)).collect();
        for published in self.broker.publish(&events).await {
            published.expect("confirmed");
        }
    }

    /// Rounds until as many results as this were judged; a round that fails counts as none.
    async fn rounds_until_credits(&mut self, credits: i64) {
        for _ in 0..100 {
            if self.world.database.number("SELECT count(*) FROM credits").await >= credits {
                return;
            }
            self.intake.run_once().await.expect("the round succeeds");
        }
        panic!("there are not {credits} credits after 100 rounds");
    }

    /// Everything that waits in `queue`.
    async fn waiting(&self, queue: Queue) -> Vec<Vec<u8>> {
        let mut consumer = self.broker.consume(queue, 100).await.expect("consumes");
        let (wait, linger) = (Duration::from_millis(50), Duration::from_millis(1));
        let deliveries = consumer.receive(100, wait, linger).await.expect("receives");
        deliveries.into_iter().map(|delivery| delivery.body.to_vec()).collect()
    }
}

fn event(recharge: &Recharge, number: u128) -> Event {
    let kind = format!("recharge.{}", recharge.status.as_str());
    let time = "2026-01-01T00:00:00Z".parse().expect("a time");
    let event = Event::new(Uuid::from_u128(number), "/pay-service", &kind, time, &as_json(recharge));
    event.expect("JSON").about(recharge.tx_no.to_string(), recharge.merchant.clone())
}

pub async fn a_batch_from_the_queue_is_credited_and_others_results_are_passed_over(database: Database) {
    let mut queue = WithQueue::new(database).await;
    let foreign = Recharge { merchant: "shop".into(), ..paid(tx(1), "A", 1) };
    let failed = Recharge { status: Status::Failed, ..paid(tx(2), "A", 1) };
    queue.publish(&[foreign, failed, paid(tx(3), "A", 10), paid(tx(3), "A", 10), paid(tx(4), "A", 20)]).await;
    queue.rounds_until_credits(2).await;
    assert_eq!(queue.world.database.totals().await, [1, 30, 2, 30, 0]);
    let credit = queue.world.store.credit(tx(3)).await.expect("the store answers").expect("a credit");
    assert_eq!((credit.source, credit.event_id), (CreditSource::Queue, Some(Uuid::from_u128(3).to_string())));
    queue.intake = Box::new(Nothing);
    assert!(queue.waiting(RECHARGE_RESULTS).await.is_empty());
    assert!(queue.waiting(DEAD).await.is_empty());
}

/// Law 3: while the commit fails the message stays; once it succeeds the message is gone.
pub async fn a_message_is_settled_only_after_the_commit(database: Database) {
    let mut queue = WithQueue::new(database).await;
    queue.publish(&[paid(tx(1), "A", 100)]).await;
    queue.world.database.break_table("UPDATE", "accounts").await;
    for _ in 0..3 {
        queue.intake.run_once().await.expect_err("the commit fails");
        assert_eq!(queue.world.database.totals().await, [1, 0, 0, 0, 0]);
    }
    queue.world.database.mend_table("accounts").await;
    queue.rounds_until_credits(1).await;
    assert_eq!(queue.world.database.totals().await, [1, 100, 1, 100, 0]);
    queue.intake = Box::new(Nothing);
    assert!(queue.waiting(RECHARGE_RESULTS).await.is_empty());
}

pub async fn what_can_t_be_credited_is_dead_lettered_and_stops_nothing(database: Database) {
    let mut queue = WithQueue::new(database).await;
    queue.publish(&[paid(tx(1), "nobody", 1), paid(tx(2), "A", 10)]).await;
    queue.rounds_until_credits(1).await;
    queue.intake = Box::new(Nothing);
    assert_eq!(queue.world.database.totals().await, [1, 10, 1, 10, 0]);
    assert!(queue.waiting(RECHARGE_RESULTS).await.is_empty());
    let dead = queue.waiting(DEAD).await;
    assert_eq!(dead.len(), 1);
    assert!(String::from_utf8_lossy(&dead[0]).contains("nobody"));
}

/// Put in the intake's place, so that it gives back what it holds.
struct Nothing;

#[async_trait::async_trait]
impl Worker for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    async fn run_once(&mut self) -> Result<runtime::background::Progress, runtime::background::RoundError> {
        Ok(runtime::background::Progress::Idle)
    }
}
