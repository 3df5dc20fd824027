//! Results from the queue (law 3), and the ladder of those that can't be credited yet.

use std::time::Duration;

use account_service::domain::{CreditSource, Recharge, Status};
use serde_json::json;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::queue::{WithQueue, event};
use crate::support::{as_json, open_account, paid, tx};

pub async fn a_batch_from_the_queue_is_credited_and_others_results_are_passed_over(database: Database) {
    let mut queue = WithQueue::new(database).await;
    let foreign = Recharge { merchant: "shop".into(), ..paid(tx(1), "A", 1) };
    let failed = Recharge { status: Status::Failed, ..paid(tx(2), "A", 1) };
    queue.publish(&[foreign, failed, paid(tx(3), "A", 10), paid(tx(3), "A", 10), paid(tx(4), "A", 20)]).await;
    queue.rounds_until_credits(2).await;
    assert_eq!(queue.world.database.totals().await, [1, 30, 2, 30, 0]);
    let credit = queue.world.store.credit(tx(3)).await.expect("the store answers").expect("a credit");
    assert_eq!((credit.source, credit.event_id), (CreditSource::Queue, Some(Uuid::from_u128(3).to_string())));
    assert!(queue.is_empty().await && queue.dead().await.is_empty());
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
    assert!(queue.is_empty().await);
}

pub async fn what_can_never_be_credited_is_given_up_at_once_and_stops_nothing(database: Database) {
    let mut queue = WithQueue::new(database).await;
    let mut no_recharge = event(&paid(tx(3), "A", 1), 9);
    no_recharge.data = serde_json::value::to_raw_value(&json!({ "tx_no": "none" })).expect("JSON");
    queue.publish_events(&[no_recharge]).await;
    queue.publish(&[paid(tx(1), "A", 10), paid(tx(1), "A", 11), paid(tx(2), "A", 20)]).await;
    let dead = queue.rounds_until_dead(2).await;
    let reasons: Vec<_> =
        dead.iter().map(|letter| letter.history.reason.clone().expect("a reason")).collect();
    assert!(reasons.iter().any(|reason| reason.contains("not a recharge")), "{reasons:?}");
    assert!(reasons.contains(&"this tx_no was already credited differently".into()), "{reasons:?}");
    assert!(dead.iter().all(|letter| letter.history.attempts == 1));
    assert_eq!(queue.world.database.totals().await, [1, 30, 2, 30, 0]);
    assert!(queue.is_empty().await);
}

pub async fn what_can_t_be_credited_yet_climbs_and_is_credited_when_its_account_is_there(database: Database) {
    let mut queue = WithQueue::new(database).await;
    queue.publish(&[paid(tx(1), "late", 7), paid(tx(2), "A", 10)]).await;
    queue.rounds_until_credits(1).await;
    assert_eq!(queue.world.database.totals().await, [1, 10, 1, 10, 0]);
    open_account(&*queue.world.store, "late").await;
    queue.intake.run_once().await.expect("a round");
    assert_eq!(queue.world.database.totals().await, [2, 10, 1, 10, 0], "not before its step has passed");
    queue.clock.advance(Duration::from_secs(1));
    queue.rounds_until_credits(2).await;
    assert_eq!(queue.world.database.totals().await, [2, 17, 2, 17, 0]);
    queue.clock.advance(Duration::from_mins(1));
    assert!(queue.is_empty().await && queue.dead().await.is_empty());
}

pub async fn what_is_not_credited_by_the_end_of_the_ladder_is_given_up_with_its_reason(database: Database) {
    let mut queue = WithQueue::new(database).await;
    queue.publish(&[paid(tx(1), "nobody", 1)]).await;
    for step in [0, 1, 5] {
        assert!(queue.dead().await.is_empty());
        queue.clock.advance(Duration::from_secs(step));
        // Once to take it, once more in case it was only then due.
        queue.intake.run_once().await.expect("a round");
        queue.intake.run_once().await.expect("a round");
    }
    let dead = queue.dead().await;
    assert_eq!(dead.len(), 1);
    assert!(String::from_utf8_lossy(&dead[0].body).contains("nobody"));
    assert_eq!(dead[0].history.reason.as_deref(), Some("there is no such account"));
    assert_eq!(dead[0].history.attempts, 3);
    assert!(queue.is_empty().await);
}

/// Whatever is wrong with a row of the database: the others of its batch are credited.
pub async fn a_result_that_the_database_stumbles_over_holds_no_other_back(database: Database) {
    let mut queue = WithQueue::new(database).await;
    open_account(&*queue.world.store, "bad").await;
    queue.world.database.break_rows("UPDATE", "accounts", "NEW.account_no = 'bad'").await;
    queue.publish(&[paid(tx(1), "A", 1), paid(tx(2), "bad", 2), paid(tx(3), "A", 4)]).await;
    queue.rounds_until_credits(2).await;
    assert_eq!(queue.world.database.totals().await, [2, 5, 2, 5, 0]);
    queue.world.database.mend_table("accounts").await;
    queue.clock.advance(Duration::from_secs(1));
    queue.rounds_until_credits(3).await;
    assert_eq!(queue.world.database.totals().await, [2, 7, 3, 7, 0]);
}

/// With `INTAKE=both` each result comes by webhook and from the queue.
pub async fn both_roads_race_and_each_result_is_credited_once(database: Database) {
    let mut queue = WithQueue::new(database).await;
    let results: Vec<Recharge> = (1..=100).map(|number| paid(tx(number), "A", 10)).collect();
    queue.publish(&results).await;
    let WithQueue { world, intake, .. } = &mut queue;
    let world = &*world;
    let webhooks = results.iter().rev().map(async |recharge| {
        let id = format!("event-{}", recharge.tx_no);
        world.notify(&id, "recharge.succeeded", &as_json(recharge)).await.status
    });
    let from_the_queue = async {
        for _ in 0..3 {
            intake.run_once().await.expect("a round");
        }
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(webhooks), from_the_queue);
    assert_eq!(answers, vec![200; 100]);
    assert_eq!(queue.world.database.totals().await, [1, 1000, 100, 1000, 0]);
    assert!(queue.is_empty().await && queue.dead().await.is_empty());
}
