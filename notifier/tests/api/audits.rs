//! Who did what to a subscription, when and why.

use std::time::Duration;

use runtime::Secret;
use runtime::keys::{KeyHash, Keyring};
use runtime::testing::manual_sources;
use serde_json::{Value, json};

use super::harness::{Harness, OPERATOR, SHOP, path_of};

async fn audits(harness: &Harness, key: &str, path: &str) -> Vec<Value> {
    let list = harness.get(key, &format!("{path}/audits")).await.answered(200);
    assert_eq!(list["next_cursor"], Value::Null);
    list["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn every_act_upon_a_subscription_is_kept_with_who_when_and_why_also_its_deletion() {
    let harness = Harness::new().await;
    let path = path_of(&harness.subscribe(SHOP, "orders").await);
    harness.clock.advance(Duration::from_mins(1));
    let pause = json!({ "state": "paused", "headers": { "x-token": "hush" }, "reason": "maintenance" });
    harness.patch(SHOP, &path, pause).await.answered(200);
    harness.patch(OPERATOR, &path, json!({ "state": "active" })).await.answered(200);
    harness.patch(OPERATOR, &path, json!({ "state": "disabled" })).await.answered(200);
    harness.patch(SHOP, &path, json!({ "timeout": "5s" })).await.answered(200);
    let rotate = format!("{path}/rotate-secret");
    harness.post(SHOP, &rotate, json!({ "reason": "it leaked" })).await.answered(200);
    let delete = format!("{path}?reason=no%20longer%20needed");
    assert_eq!(harness.call(OPERATOR, "DELETE", &delete, None).await.status, 204);
    let audits = audits(&harness, SHOP, &path).await;
    let told = |audit: &Value| json!([audit["action"], audit["changed"], audit["actor"], audit["reason"]]);
    let expected = json!([
        ["delete", [], "operator", "no longer needed"],
        ["rotate_secret", [], "merchant:shop", "it leaked"],
        ["change", ["timeout"], "merchant:shop", null],
        ["disable", ["state"], "operator", null],
        ["activate", ["state"], "operator", null],
        ["pause", ["headers", "state"], "merchant:shop", "maintenance"],
        ["create", [], "merchant:shop", null],
    ]);
    assert_eq!(Value::from(audits.iter().map(told).collect::<Vec<_>>()), expected);
    assert_eq!(
        (&audits[0]["at"], &audits[6]["at"]),
        (&json!("2026-01-01T00:01:00Z"), &json!("2026-01-01T00:00:00Z"))
    );
    assert!(!Value::from(audits).to_string().contains("hush"), "names, no values");
}

#[tokio::test]
async fn an_operator_of_the_keys_file_is_named_and_a_merchant_of_it_is_confined() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let holder = |role: &str, name: &str, key: &str| {
        format!("[[{role}]]\nname = \"{name}\"\nkey_sha256 = [\"{}\"]\n", KeyHash::of(key))
    };
    let text = holder("operator", "ann", "ann-key") + &holder("merchant", "shop", SHOP);
    std::fs::write(file.path(), text).expect("written");
    let keyring = Keyring::new(Some(&Secret::new(OPERATOR)), &"".parse().expect("no merchants"));
    let keyring = keyring.with_file(file.path(), false, manual_sources(1).0.clock).expect("well-formed");
    let harness = Harness::with_keys(keyring).await;
    let path = path_of(&harness.subscribe(SHOP, "orders").await);
    let disabled = harness.patch("ann-key", &path, json!({ "state": "disabled" })).await.answered(200);
    assert_eq!(disabled["disabled_reason"], "disabled by operator:ann");
    harness.patch(OPERATOR, &path, json!({ "state": "active" })).await.answered(200);
    let audits = audits(&harness, SHOP, &path).await;
    let actors: Vec<_> = audits.iter().map(|audit| audit["actor"].as_str().expect("a text")).collect();
    assert_eq!(actors, ["operator", "operator:ann", "merchant:shop"]);
    let another =
        json!({ "name": "x", "merchant": "bank", "url": "https://shop.example", "event_types": ["*"] });
    harness.post(SHOP, "/v1/subscriptions", another).await.refused(403, None);
}

#[tokio::test]
async fn audits_are_paged() {
    let harness = Harness::new().await;
    let path = path_of(&harness.subscribe(SHOP, "orders").await);
    harness.patch(SHOP, &path, json!({ "timeout": "5s" })).await.answered(200);
    let first = harness.get(SHOP, &format!("{path}/audits?limit=1")).await.answered(200);
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = harness.get(SHOP, &format!("{path}/audits?limit=1&cursor={cursor}")).await.answered(200);
    assert_eq!(
        (&first["items"][0]["action"], &second["items"][0]["action"]),
        (&json!("change"), &json!("create"))
    );
    assert_eq!(second["next_cursor"], Value::Null);
}
