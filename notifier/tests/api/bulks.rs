//! Replays and cancellations through the API.

use serde_json::{Value, json};

use super::harness::{BANK, Harness, OPERATOR, SHOP, path_of};

#[tokio::test]
async fn a_replay_can_be_watched_until_it_is_done() {
    let mut harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    for subject in ["tx-1", "tx-2"] {
        let id = harness.notify(&subscription, subject).await;
        harness.call(SHOP, "POST", &format!("/v1/notifications/{id}/cancel"), None).await.answered(200);
    }
    harness.notify(&subscription, "tx-3").await;
    let body = json!({ "subscription_id": subscription["id"], "state": "cancelled", "reason": "by mistake" });
    let answer = harness.post(SHOP, "/v1/replays", body).await;
    let path = answer.headers["location"].to_str().expect("text").to_owned();
    let replay = answer.answered(202);
    assert_eq!((&replay["state"], &replay["created_by"]), (&json!("running"), &json!("merchant:shop")));
    harness.run_bulks().await;
    let done = harness.get(SHOP, &path).await.answered(200);
    assert_eq!((&done["state"], &done["matched"], &done["resent"]), (&json!("done"), &json!(2), &json!(2)));
    let pending = harness.get(SHOP, "/v1/notifications?state=pending").await.answered(200);
    assert_eq!(pending["items"].as_array().expect("a list").len(), 3);
}

#[tokio::test]
async fn a_cancellation_gives_up_what_waits_and_says_who_and_why_at_each() {
    let mut harness = Harness::new().await;
    let subscription = harness.subscribe(SHOP, "orders").await;
    let failed = harness.notify(&subscription, "tx-1").await;
    harness.fail_next(&subscription).await;
    let fresh = harness.notify(&subscription, "tx-2").await;
    let body = json!({ "subscription_id": subscription["id"], "state": ["pending", "held"], "reason": "a mistake",
        "failure_class": "status,dns", "event_type": "recharge.*", "created_from": "2026-01-01T00:00:00Z" });
    let answer = harness.post(OPERATOR, "/v1/cancellations", body).await;
    let path = answer.headers["location"].to_str().expect("text").to_owned();
    let running = answer.answered(202);
    assert_eq!((&running["state"], &running["cancelled"]), (&json!("running"), &json!(0)));
    let filter = json!({ "state": ["pending", "held"], "event_type": "recharge.*",
        "failure_class": ["dns", "status"], "created_from": "2026-01-01T00:00:00Z", "created_to": null });
    assert_eq!(running["filter"], filter);
    harness.run_bulks().await;
    let done = harness.get(SHOP, &path).await.answered(200);
    assert_eq!(
        (&done["state"], &done["matched"], &done["cancelled"]),
        (&json!("done"), &json!(1), &json!(1))
    );
    let shown = harness.get(SHOP, &format!("/v1/notifications/{failed}")).await.answered(200);
    let audit = &shown["audits"][0];
    assert_eq!((&shown["state"], &audit["action"]), (&json!("cancelled"), &json!("cancellation")));
    assert_eq!((&audit["actor"], &audit["at"]), (&json!("operator"), &json!("2026-01-01T00:00:00Z")));
    let reason = audit["reason"].as_str().expect("a reason");
    assert!(
        reason.contains(path.rsplit('/').next().expect("an id")) && reason.ends_with("a mistake"),
        "{reason}"
    );
    let fresh = harness.get(SHOP, &format!("/v1/notifications/{fresh}")).await.answered(200);
    assert_eq!((&fresh["state"], &fresh["audits"]), (&json!("pending"), &json!([])));
}

#[tokio::test]
async fn bulks_are_listed_newest_first_each_kind_and_each_merchant_apart() {
    let harness = Harness::new().await;
    let of_shop = harness.subscribe(SHOP, "orders").await;
    let of_bank = harness.subscribe(BANK, "orders").await;
    let mut ids = Vec::new();
    for (key, path, subscription) in [
        (SHOP, "/v1/replays", &of_shop),
        (SHOP, "/v1/replays", &of_shop),
        (BANK, "/v1/replays", &of_bank),
        (OPERATOR, "/v1/cancellations", &of_shop),
    ] {
        let body = json!({ "subscription_id": subscription["id"] });
        ids.push(harness.post(key, path, body).await.answered(202)["id"].clone());
    }
    let listed = async |key, path: &str| -> (Vec<Value>, Value) {
        let list = harness.get(key, path).await.answered(200);
        let items = list["items"].as_array().expect("a list").iter().map(|item| item["id"].clone());
        (items.collect(), list["next_cursor"].clone())
    };
    let [first, second, of_banks, cancellation] = &ids[..] else { unreachable!("four") };
    assert_eq!(listed(SHOP, "/v1/replays").await.0, [second.clone(), first.clone()]);
    assert_eq!(listed(BANK, "/v1/replays").await.0, std::slice::from_ref(of_banks));
    assert_eq!(listed(OPERATOR, "/v1/replays?merchant=bank").await.0, std::slice::from_ref(of_banks));
    assert_eq!(listed(SHOP, "/v1/cancellations").await.0, std::slice::from_ref(cancellation));
    let (page, cursor) = listed(OPERATOR, "/v1/replays?limit=2").await;
    assert_eq!(page, [of_banks.clone(), second.clone()]);
    let cursor = cursor.as_str().expect("there is more").to_owned();
    assert_eq!(
        listed(OPERATOR, &format!("/v1/replays?limit=2&cursor={cursor}")).await.0,
        std::slice::from_ref(first)
    );
    let of_one = format!("/v1/replays?subscription_id={}", of_bank["id"].as_str().expect("an id"));
    assert_eq!(listed(OPERATOR, &of_one).await.0, std::slice::from_ref(of_banks));
    assert!(listed(SHOP, &of_one).await.0.is_empty());
    let kind = format!("/v1/replays/{}", cancellation.as_str().expect("an id"));
    harness.get(OPERATOR, &kind).await.refused(404, None);
    harness.get(BANK, &kind.replace("replays", "cancellations")).await.refused(404, None);
    assert!(path_of(&of_shop).ends_with(of_shop["id"].as_str().expect("an id")));
}

#[tokio::test]
async fn the_operator_replays_every_subscription_after_it_has_seen_what_would_be_sent() {
    let mut harness = Harness::new().await;
    let orders = harness.subscribe(SHOP, "orders").await;
    let all = harness.subscribe(OPERATOR, "all").await;
    for subject in ["tx-1", "tx-2"] {
        let id = harness.notify(&orders, subject).await;
        harness.call(SHOP, "POST", &format!("/v1/notifications/{id}/cancel"), None).await.answered(200);
    }
    harness.patch(OPERATOR, &path_of(&all), json!({ "state": "paused" })).await.answered(200);
    let before = harness.everything().await;
    let body = json!({ "dry_run": true, "state": ["cancelled", "held"] });
    let preview = harness.post(OPERATOR, "/v1/replays", body).await.answered(200);
    let of = |subscription: &Value, merchant: Value, state: &str| {
        json!({ "subscription_id": subscription["id"], "name": subscription["name"], "merchant": merchant,
            "state": state, "matched": 2 })
    };
    let filter = json!({ "state": ["held", "cancelled"], "event_type": null, "failure_class": null,
        "created_from": null, "created_to": null });
    let expected = json!({ "dry_run": true, "subscription_id": null, "filter": filter, "matched": 4, "capped": false,
        "subscriptions": [of(&orders, json!("shop"), "active"), of(&all, Value::Null, "paused")] });
    assert_eq!(preview, expected);
    let of_one = json!({ "dry_run": true, "subscription_id": "name:orders", "state": "cancelled" });
    assert_eq!(harness.post(SHOP, "/v1/replays", of_one).await.answered(200)["matched"], 2);
    harness.run_bulks().await;
    assert_eq!(harness.everything().await, before);
    assert_eq!(harness.get(OPERATOR, "/v1/replays").await.answered(200)["items"], json!([]));
    let started =
        harness.post(OPERATOR, "/v1/replays", json!({ "state": "cancelled", "dry_run": false })).await;
    let path = started.headers["location"].to_str().expect("text").to_owned();
    assert_eq!(started.answered(202)["subscription_id"], Value::Null);
    harness.run_bulks().await;
    let done = harness.get(OPERATOR, &path).await.answered(200);
    assert_eq!((&done["state"], &done["matched"], &done["resent"]), (&json!("done"), &json!(2), &json!(2)));
    harness.get(SHOP, &path).await.refused(404, None);
    let pending = harness.get(SHOP, "/v1/notifications?state=pending").await.answered(200);
    assert_eq!(pending["items"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn what_is_not_said_to_be_of_one_subscription_is_for_the_operator_to_replay_and_for_nobody_to_cancel() {
    let harness = Harness::new().await;
    for body in [json!({}), json!({ "dry_run": true }), json!({ "subscription_id": null })] {
        harness.post(SHOP, "/v1/replays", body).await.refused(422, Some("subscription_id"));
    }
    for (path, body, field) in [
        ("/v1/cancellations", json!({}), "subscription_id"),
        ("/v1/cancellations", json!({ "subscription_id": "name:a", "dry_run": true }), "dry_run"),
        ("/v1/replays", json!({ "dry_run": "yes" }), "dry_run"),
        ("/v1/replays", json!({ "dry_run": true, "reason": "" }), "reason"),
        ("/v1/replays", json!({ "dry_run": true, "state": "delivering" }), "state"),
        ("/v1/replays", json!({ "dry_run": true, "subscription_id": "orders" }), "subscription_id"),
    ] {
        harness.post(OPERATOR, path, body).await.refused(422, Some(field));
    }
    for subscription in ["name:orders", "019ad4a0-0000-7000-8000-000000000001"] {
        let body = json!({ "dry_run": true, "subscription_id": subscription });
        harness.post(OPERATOR, "/v1/replays", body).await.refused(404, None);
    }
}
