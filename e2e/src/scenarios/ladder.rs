//! Scheme 1's ladder: results that the queue brought before they could be credited.

use messaging::broker::RECHARGE_RESULTS;
use serde_json::{Value, json};

use crate::harness::{
    Footing, Kind, Options, PATIENCE, PrivateServer, Program, Publisher, Service, Stack, eventually, text,
};

/// Its account is opened while the result climbs.
const LATE: &str = "62220001";
/// Its account is opened only after the result was given up.
const TOO_LATE: &str = "62220002";
const LADDER: &str = "1s,2s,3s";
const ATTEMPTS: u64 = 4;

/// A consumer that is killed while results wait for their next step.
pub async fn results_climb_the_ladder_across_kills_of_their_consumer(footing: Footing) {
    let mut scene = Scene::set(footing).await;
    scene.until_refused(1).await;
    scene.stack.kill(Service::Account);
    scene.stack.restart(Service::Account).await;
    scene.until_refused(2).await;
    scene.stack.kill(Service::Account);
    scene.stack.restart(Service::Account).await;
    scene.settle().await;
}

/// The broker is stopped and started while results wait in it; their consumer is killed meanwhile.
pub async fn results_climb_the_ladder_across_a_restart_of_rabbitmq() {
    let mut rabbitmq = PrivateServer::start(Program::RabbitMq).await;
    let mut scene = Scene::set(Footing::postgres_with(None, Some(&rabbitmq)).await).await;
    scene.until_refused(1).await;
    rabbitmq.stop().await;
    scene.stack.kill(Service::Account);
    rabbitmq.start_again().await;
    scene.stack.restart(Service::Account).await;
    scene.settle().await;
}

/// Two recharges that are paid before their accounts exist.
struct Scene {
    stack: Stack,
    late: String,
    too_late: String,
}

impl Scene {
    async fn set(footing: Footing) -> Self {
        let mut stack = Stack::start_with(footing, Options { intake: "queue", queue_ladder: LADDER }).await;
        stack.kill_notifiers();
        let late = stack.recharge_directly("late", LATE, 700, "instant").await;
        let too_late = stack.recharge_directly("too-late", TOO_LATE, 70, "instant").await;
        Self { late: text(&late["tx_no"]), too_late: text(&too_late["tx_no"]), stack }
    }

    /// Waits until each of the two has been refused so often.
    async fn until_refused(&self, times: u64) {
        for tx_no in [&self.late, &self.too_late] {
            eventually(&format!("{tx_no} is refused {times} times"), PATIENCE, async || {
                let path = format!("/v1/exceptions?tx_no={tx_no}&kind=unknown_account");
                let found = self.stack.account.get(&path).await.expect(200);
                (found["items"][0]["count"].as_u64()? >= times).then_some(())
            })
            .await;
        }
    }

    /// One is credited by the ladder, once; the other is given up, listed, and put back by the operator.
    async fn settle(self) {
        self.stack.open_account(LATE).await;
        self.stack.until_balance(LATE, 700).await;
        assert_eq!(self.stack.credits(LATE).await[0]["source"], "queue");
        let letters = self.until_given_up().await;
        self.is_for_everybody_to_see(letters.len()).await;
        self.stack.open_account(TOO_LATE).await;
        for letter in &letters {
            let path = format!("/v1/dead-letters/{}/requeue", text(&letter["id"]));
            let requeue =
                self.stack.account.post(&path, &json!({ "reason": "its account is open" })).await.expect(200);
            assert_eq!(
                (&requeue["asked_by"], &requeue["event_id"]),
                (&json!("operator"), &letter["event_id"])
            );
        }
        self.stack.until_balance(TOO_LATE, 70).await;
        assert_eq!(self.stack.credits(LATE).await.len() + self.stack.credits(TOO_LATE).await.len(), 2);
        assert!(self.stack.account.list("/v1/dead-letters").await.is_empty());
        let open = self.stack.account.list("/v1/exceptions?state=open").await;
        assert!(open.is_empty(), "what heals closes its exception: {open:?}");
    }

    /// A kill between two queues may leave a copy in both, so there may be two; each tells the same.
    async fn until_given_up(&self) -> Vec<Value> {
        let given_up = eventually("the result is given up", PATIENCE, async || {
            let letters = self.stack.account.list("/v1/dead-letters").await;
            (!letters.is_empty()).then_some(letters)
        })
        .await;
        for letter in &given_up {
            assert_eq!(letter["subject"], self.too_late.as_str(), "{letter}");
            assert_eq!(letter["reason"], "there is no such account");
            assert_eq!(letter["attempts"], ATTEMPTS);
            let shown = self.stack.account.get(&format!("/v1/dead-letters/{}", text(&letter["id"]))).await;
            let event = &shown.expect(200)["event"];
            assert_eq!((&event["id"], &event["data"]["amount"]), (&letter["event_id"], &json!(70)));
            assert!(text(&letter["first_published_at"]) < text(&letter["dead_lettered_at"]));
        }
        given_up
    }

    /// Also for those who look at the broker themselves.
    async fn is_for_everybody_to_see(&self, count: usize) {
        if self.stack.footing.kind == Kind::AllInOne {
            return;
        }
        let publisher = Publisher::connect(&self.stack.footing).await;
        let dead = publisher.dead_letters(RECHARGE_RESULTS, count).await;
        assert!(dead.iter().all(|(_, reason)| reason == "there is no such account"), "{dead:?}");
    }
}
