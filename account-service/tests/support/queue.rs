//! A service that takes results from the queue.

use std::sync::Arc;
use std::time::Duration;

use account_service::ResultQueue;
use account_service::domain::Recharge;
use messaging::broker::{DeadLetter, RECHARGE_RESULTS};
use messaging::{Broker, Event};
use runtime::background::Worker;
use runtime::database::open_sqlite;
use runtime::http::Page;
use runtime::testing::{ManualClock, manual_sources};
use uuid::Uuid;

use super::database::Database;
use super::service::World;
use super::{as_json, open_account, pay_service};

/// Two steps, the second longer.
const LADDER: &str = "1s,5s";

/// A service whose results come from a queue on the `SQLite` broker.
pub struct WithQueue {
    pub world: World,
    pub broker: Arc<dyn Broker>,
    /// The broker's.
    pub clock: ManualClock,
    pub intake: Box<dyn Worker>,
    folder: tempfile::TempDir,
}

impl WithQueue {
    pub async fn new(database: Database) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("broker.db").display()).parse().expect("a URL");
        let (sources, clock) = manual_sources(3);
        let broker = messaging::broker::open(&url, "test", &sources).await.expect("opens");
        broker.declare(RECHARGE_RESULTS).await.expect("declares");
        let pay_service = Arc::new(pay_service::client("http://127.0.0.1:9"));
        let queue = ResultQueue { broker: broker.clone(), ladder: LADDER.parse().expect("a ladder") };
        let world = World::with(database, pay_service, Some(queue)).await;
        open_account(&*world.store, "A").await;
        let intake = world.intake.lock().expect("no panic").take().expect("there is a queue");
        Self { world, broker, clock, intake, folder }
    }

    /// Puts what need be no event into the queue.
    pub async fn post(&self, body: &[u8]) {
        let file = open_sqlite(&self.folder.path().join("broker.db")).await.expect("opens");
        sqlx::query("INSERT INTO messages (queue, body, published_at) VALUES (?1, ?2, 0)")
            .bind(RECHARGE_RESULTS.name)
            .bind(body)
            .execute(&file.writer)
            .await
            .expect("posted");
    }

    /// Gives every dead letter this reason, as any program could that may publish.
    pub async fn give_reason(&self, reason: &str) {
        let file = open_sqlite(&self.folder.path().join("broker.db")).await.expect("opens");
        let change = sqlx::query("UPDATE messages SET reason = ?1 WHERE dead_letter_id IS NOT NULL");
        let changed = change.bind(reason).execute(&file.writer).await.expect("changed");
        assert_eq!(changed.rows_affected(), 1);
    }

    pub async fn publish(&self, recharges: &[Recharge]) {
        let events: Vec<Event> =
            recharges.iter().zip(1..).map(|(recharge, number)| event(recharge, number)).collect();
        self.publish_events(&events).await;
    }

    pub async fn publish_events(&self, events: &[Event]) {
        for published in self.broker.publish(events).await {
            published.expect("confirmed");
        }
    }

    /// Rounds until as many results as this are credited.
    pub async fn rounds_until_credits(&mut self, credits: i64) {
        for _ in 0..100 {
            if self.world.database.number("SELECT count(*) FROM credits").await >= credits {
                return;
            }
            self.intake.run_once().await.expect("the round succeeds");
        }
        panic!("there are not {credits} credits after 100 rounds");
    }

    /// Rounds until as many messages as this are given up.
    pub async fn rounds_until_dead(&mut self, letters: usize) -> Vec<DeadLetter> {
        for _ in 0..100 {
            let dead = self.dead().await;
            if dead.len() >= letters {
                return dead;
            }
            self.intake.run_once().await.expect("the round succeeds");
        }
        panic!("there are not {letters} dead letters after 100 rounds");
    }

    pub async fn dead(&self) -> Vec<DeadLetter> {
        let dead = self.broker.dead_letters(RECHARGE_RESULTS).await.expect("there");
        dead.list(Page { limit: 200, after: None }).await.expect("listed")
    }

    /// Whether nothing waits in the queue or is out; the intake is over with this.
    pub async fn is_empty(&mut self) -> bool {
        self.intake = Box::new(Nothing);
        let mut consumer = self.broker.consume(RECHARGE_RESULTS, 100).await.expect("consumes");
        let (wait, linger) = (Duration::from_millis(50), Duration::from_millis(1));
        consumer.receive(100, wait, linger).await.expect("receives").is_empty()
    }
}

/// The event that tells of `recharge`.
pub fn event(recharge: &Recharge, number: u128) -> Event {
    let kind = format!("recharge.{}", recharge.status.as_str());
    let time = "2026-01-01T00:00:00Z".parse().expect("a time");
    let event = Event::new(Uuid::from_u128(number), "/pay-service", &kind, time, &as_json(recharge));
    event.expect("JSON").about(recharge.tx_no.to_string(), recharge.merchant.clone())
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
