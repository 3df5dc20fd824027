//! The webhook receiver.

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::{Recharge, Status};
use axum::http::HeaderValue;
use messaging::webhook::WebhookSecret;
use runtime::Clock;
use runtime::testing::SeededEntropy;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::database::Database;
use crate::support::service::{World, with_signature};
use crate::support::{as_json, balance, open_account, paid, tx};

const SUCCEEDED: &str = "recharge.succeeded";

pub async fn a_signed_result_is_credited_once_however_often_it_comes(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let data = as_json(&paid(tx(1), "A", 100));
    for id in ["event-1", "event-1", "event-2"] {
        let answer = world.notify(id, SUCCEEDED, &data).await;
        assert_eq!((answer.status, answer.body), (200, json!({})));
    }
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 0]);
    let credit = world.store.credit(tx(1)).await.expect("the store answers").expect("a credit");
    assert_eq!(credit.event_id.as_deref(), Some("event-1"));
    let contradiction = world.notify("event-3", SUCCEEDED, &as_json(&paid(tx(1), "A", 101))).await;
    assert_eq!(
        (contradiction.status, &contradiction.body["errors"][0]["field"]),
        (422, &json!("data.tx_no"))
    );
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 0]);
}

pub async fn only_a_fresh_signature_of_a_live_secret_is_believed(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let body = json!({ "type": SUCCEEDED, "timestamp": "2026-01-01T00:00:00Z", "data": as_json(&paid(tx(1), "A", 1)) })
        .to_string();
    let now = world.clock.now().timestamp();
    let stranger = WebhookSecret::generate(&SeededEntropy::new(99));
    let send = |secret: &WebhookSecret, at: i64| {
        world.call(with_signature("event-1", at, &secret.sign("event-1", at, body.as_bytes()), body.clone()))
    };
    assert_eq!(send(&stranger, now).await.status, 401);
    assert_eq!(send(&world.secret, now - 301).await.status, 401);
    assert_eq!(send(&world.secret, now + 301).await.status, 401);
    let changed = body.replace("\"amount\":1", "\"amount\":9");
    let signature = world.secret.sign("event-1", now, body.as_bytes());
    assert_eq!(world.call(with_signature("event-1", now, &signature, changed)).await.status, 401);
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut request = world.signed("event-1", body.clone());
        request.headers_mut().remove(header);
        assert_eq!(world.call(request).await.status, 401, "{header}");
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
    assert_eq!(send(&world.old_secret, now).await.status, 200);
    let [old, new] =
        [&world.old_secret, &world.secret].map(|secret| secret.sign("event-1", now, body.as_bytes()));
    let both = world.call(with_signature("event-1", now, &format!("{old} {new}"), body.clone())).await;
    assert_eq!(both.status, 200);
    world.clock.advance(Duration::from_mins(6));
    assert_eq!(send(&world.secret, now).await.status, 401);
    assert_eq!(world.database.totals().await, [1, 1, 1, 1, 0]);
}

pub async fn what_can_t_be_credited_is_refused_by_name(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let order = world.post("/v1/accounts/A/recharges", &json!({ "amount": 100 })).await;
    assert_eq!(order.status, 503, "its pay-service is down");
    let detail = order.body["detail"].as_str().expect("text").to_owned();
    let order = detail.split("merchant_order_no ").nth(1).and_then(|rest| rest.get(..36)).expect("an order");
    let contradicting = Recharge { merchant_order_no: order.into(), ..paid(tx(1), "A", 101) };
    let dollars = Recharge { currency: "USD".parse().expect("a code"), ..paid(tx(2), "A", 1) };
    let refused = [
        (paid(tx(3), "nobody", 1), "data.account_no"),
        (contradicting, "data.amount"),
        (dollars, "data.currency"),
    ];
    for (recharge, field) in refused {
        let answer = world.notify("event-1", SUCCEEDED, &as_json(&recharge)).await;
        assert_eq!((answer.status, &*answer.content_type), (422, "application/problem+json"), "{answer:?}");
        assert_eq!(answer.body["errors"][0]["field"], field, "{answer:?}");
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 1]);
}

pub async fn what_is_not_ours_is_passed_over(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let foreign = Recharge { merchant: "shop".into(), ..paid(tx(1), "A", 100) };
    let ours = as_json(&paid(tx(2), "A", 100));
    let passed_over = [
        (SUCCEEDED, as_json(&foreign)),
        (SUCCEEDED, json!({ "merchant": "shop", "of": "another shape" })),
        ("order.paid", ours.clone()),
        ("recharge.refunded", ours),
        ("ringback.test", json!(null)),
    ];
    for (kind, data) in passed_over {
        let answer = world.notify("event-1", kind, &data).await;
        assert_eq!((answer.status, answer.body), (200, json!({})), "{kind}");
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
}

pub async fn a_failed_recharge_credits_nothing(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    for (number, status) in [(1, Status::Failed), (2, Status::Closed)] {
        let data = as_json(&Recharge { status, ..paid(tx(number), "A", 100) });
        assert_eq!(
            world.notify("event-1", &format!("recharge.{}", status.as_str()), &data).await.status,
            200
        );
        let lie = world.notify("event-1", SUCCEEDED, &data).await;
        assert_eq!((lie.status, &lie.body["errors"][0]["field"]), (422, &json!("data")));
    }
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
}

/// 64 senders at once, half of them about one account, each result sent twice.
pub async fn a_flood_of_notifications_leaves_exact_balances(database: Database) {
    let world = Arc::new(World::new(database).await);
    for account in ["hot", "cold"] {
        open_account(&*world.store, account).await;
    }
    let mut senders = JoinSet::new();
    for sender in 0..64_u128 {
        let world = world.clone();
        senders.spawn(async move {
            let account = if sender % 2 == 0 { "hot" } else { "cold" };
            for result in 0..4 {
                let data = as_json(&paid(tx(sender * 10 + result), account, 7));
                for _ in 0..2 {
                    assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 200);
                }
            }
        });
    }
    senders.join_all().await;
    assert_eq!((balance(&*world.store, "hot").await, balance(&*world.store, "cold").await), (896, 896));
    assert_eq!(world.database.totals().await, [2, 1792, 256, 1792, 0]);
}

pub async fn a_broken_database_answers_503_and_the_next_try_credits(database: Database) {
    let world = World::new(database).await;
    open_account(&*world.store, "A").await;
    let data = as_json(&paid(tx(1), "A", 100));
    world.database.break_table("UPDATE", "accounts").await;
    let answer = world.notify("event-1", SUCCEEDED, &data).await;
    assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("1")), "{answer:?}");
    world.database.mend_table("accounts").await;
    assert_eq!(world.notify("event-1", SUCCEEDED, &data).await.status, 200);
    let mut plain = world.notification("event-1", SUCCEEDED, &data);
    plain.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
    assert_eq!(world.call(plain).await.status, 415);
    assert_eq!(world.database.totals().await, [1, 100, 1, 100, 0]);
}

pub async fn the_receiver_is_off_where_results_come_from_the_queue_alone(database: Database) {
    let world = World::without_webhook(database).await;
    open_account(&*world.store, "A").await;
    let answer = world.notify("event-1", SUCCEEDED, &as_json(&paid(tx(1), "A", 100))).await;
    assert_eq!((answer.status, &*answer.content_type), (404, "application/problem+json"));
    assert_eq!(world.database.totals().await, [1, 0, 0, 0, 0]);
}
