//! Reconciliations that a person ends.

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::Stretch;
use runtime::Clock;
use runtime::background::Progress;
use serde_json::{Value, json};

use super::statement::{begin, difference, found, items, show, walked, world};
use crate::support::database::Database;
use crate::support::pay_service::client;
use crate::support::scripted::Scripted;
use crate::support::service::{Answer, OWN, World, request};
use crate::support::{paid, tx};

async fn cancel(world: &World, path: &str, body: &Value) -> Answer {
    world.post(&format!("{path}/cancel"), body).await
}

pub async fn a_reconciliation_that_is_never_answered_rightly_ends_when_it_is_cancelled(database: Database) {
    let unanswered = World::new(database).await;
    let path = walked(&unanswered).await;
    let before = show(&unanswered, &path).await;
    assert!(before["last_error"].is_string(), "{before}");
    for reason in [json!(""), json!("x".repeat(501)), json!("a\u{0}"), json!(7)] {
        let refused = cancel(&unanswered, &path, &json!({ "reason": reason })).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["field"]), (422, &json!("reason")));
    }
    assert_eq!(show(&unanswered, &path).await, before);

    unanswered.clock.advance(Duration::from_secs(1));
    let answer = cancel(&unanswered, &path, &json!({ "reason": "that day is broken" })).await;
    let run = show(&unanswered, &path).await;
    assert_eq!((answer.status, &answer.body), (200, &run));
    let who = json!({ "by": "operator", "at": unanswered.clock.now(), "reason": "that day is broken" });
    assert_eq!((&run["state"], &run["cancelled"]), (&json!("cancelled"), &who));
    assert_eq!((&run["next_at"], &run["finished_at"]), (&json!(null), &json!(null)));
    assert_eq!(run["last_error"], before["last_error"]);
    assert_eq!(run["progress"], before["progress"]);

    let mended =
        World::asking(unanswered.database, Arc::new(Scripted::knowing(&[paid(tx(1), "A", 1)]))).await;
    mended.clock.advance(Duration::from_hours(24));
    mended.reconcile().await;
    assert_eq!(show(&mended, &path).await, run, "nobody goes on with it");
    assert_eq!(items(&mended, "/v1/reconciliations").await, [run]);
}

pub async fn whoever_is_at_a_reconciliation_that_is_cancelled_keeps_nothing_of_it(database: Database) {
    let there: Vec<_> = (1..=250).map(|n| paid(tx(n), "A", 100)).collect();
    let world = world(database, Scripted::knowing(&there)).await;
    let path = begin(&world).await;
    world.reconciliations.lock().await.run_once().await.expect("the round succeeds");
    let now = world.clock.now();
    let claimed = world.store.claim_reconciliation(tx(777), now, now + Duration::from_mins(2)).await;
    let mut walk = claimed.expect("the store answers").expect("it is due");

    let own = request(axum::http::Method::POST, &format!("{path}/cancel"), OWN, axum::body::Body::empty());
    let cancelled = world.call(own).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let who = json!({ "by": "merchant:account-service", "at": now, "reason": null });
    assert_eq!(cancelled.body["cancelled"], who);
    let rest = Stretch { there: Vec::new(), here: Vec::new(), last: None };
    let kept = world.store.keep_stretch(tx(777), walk.id, &rest, now).await.expect("the store answers");
    assert_eq!(kept, None);
    walk.put_off("late".into(), now, 0.5);
    world.store.put_off_reconciliation(tx(777), &walk).await.expect("the store answers");

    let run = show(&world, &path).await;
    assert_eq!(run, cancelled.body);
    assert_eq!(run["progress"]["pages"], 1);
    assert!(run["progress"]["compared_to"].as_str() < run["to"].as_str(), "{run}");
    let credited: Vec<_> = (1..=200).map(|n| difference(n, "missing_here")).collect();
    assert_eq!(found(&world, &path).await, credited, "what was done stays");
    assert_eq!(world.database.totals().await, [2, 20_000, 200, 20_000, 0]);
}

pub async fn what_has_ended_is_not_cancelled(database: Database) {
    let world = world(database, Scripted::default()).await;
    let finished = walked(&world).await;
    let cancelled = begin(&world).await;
    assert_eq!(cancel(&world, &cancelled, &json!({})).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    for (path, state) in [(finished, "finished"), (cancelled, "cancelled")] {
        let before = show(&world, &path).await;
        let refused = cancel(&world, &path, &json!({ "reason": "again" })).await;
        assert_eq!((refused.status, &*refused.content_type), (409, "application/problem+json"));
        assert_eq!(refused.body["detail"], format!("the reconciliation is {state} already"));
        assert_eq!(show(&world, &path).await, before);
    }
}

pub async fn a_cancelled_night_is_not_begun_again(database: Database) {
    let world = World::new(database).await;
    world.clock.advance(Duration::from_hours(3));
    let mut first = world.nightly(10, Arc::new(client("http://127.0.0.1:9")));
    first.run_once().await.expect("the round succeeds");
    let all = items(&world, "/v1/reconciliations").await;
    assert_eq!((all.len(), &all[0]["origin"], &all[0]["state"]), (1, &json!("nightly"), &json!("running")));
    let path = format!("/v1/reconciliations/{}", all[0]["id"].as_str().expect("an id"));
    assert_eq!(cancel(&world, &path, &json!({})).await.status, 200);
    let mut second = world.nightly(11, Arc::new(Scripted::default()));
    while second.run_once().await.expect("the round succeeds") == Progress::More {}
    assert_eq!(items(&world, "/v1/reconciliations").await, [show(&world, &path).await]);
}
