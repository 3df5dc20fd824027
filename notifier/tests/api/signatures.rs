//! What a subscriber is told of its keys, and what it can verify with them.

use std::time::Duration;

use messaging::webhook::{
    Claims, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Unverified, VerifyingKey, verify,
};
use runtime::Clock;
use serde_json::{Value, json};
use wiremock::{MockServer, Request};

use super::harness::{Harness, SHOP, path_of};

/// A subscription and the server that its webhooks arrive at.
struct Scene {
    harness: Harness,
    receiver: MockServer,
    made: Value,
}

impl Scene {
    async fn signed_by(signature: &str) -> Self {
        let (harness, receiver) = (Harness::new().await, MockServer::start().await);
        let body =
            json!({ "name": "t", "url": receiver.uri(), "event_types": ["*"], "signature": signature });
        let made = harness.post(SHOP, "/v1/subscriptions", body).await.answered(201);
        Self { harness, receiver, made }
    }

    async fn rotate(&self, wish: Value) -> Value {
        let path = format!("{}/rotate-secret", path_of(&self.made));
        self.harness.post(SHOP, &path, wish).await.answered(200)
    }

    async fn show(&self) -> Value {
        self.harness.get(SHOP, &path_of(&self.made)).await.answered(200)
    }

    /// Sends a test event; what arrived.
    async fn received(&self) -> Request {
        let path = format!("{}/test", path_of(&self.made));
        self.harness.call(SHOP, "POST", &path, None).await.answered(200);
        let mut received = self.receiver.received_requests().await.expect("they are recorded");
        received.pop().expect("a webhook")
    }

    /// Whether the holder of `key` believes `request`.
    fn believes(&self, key: &Value, request: &Request) -> bool {
        let key: VerifyingKey = key.as_str().and_then(|key| key.parse().ok()).expect("a verifying key");
        let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let claims = Claims {
            id: header(ID_HEADER),
            timestamp: header(TIMESTAMP_HEADER),
            signature: header(SIGNATURE_HEADER),
        };
        match verify(&[key], claims, &request.body, self.harness.clock.now()) {
            Ok(()) => true,
            Err(Unverified::Signature) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_asks_for_v1a_is_shown_the_public_key_and_no_secret() {
    let scene = Scene::signed_by("v1a").await;
    let made = &scene.made;
    assert_eq!((&made["signature"], &made["secret"]), (&json!("v1a"), &Value::Null));
    assert_eq!(made["public_keys"], json!([{ "public_key": made["public_key"], "expires_at": null }]));
    let shown = scene.show().await;
    let mut without_secret = made.clone();
    without_secret.as_object_mut().expect("an object").remove("secret");
    assert_eq!(shown, without_secret);
    let listed = scene.harness.get(SHOP, "/v1/subscriptions").await.answered(200);
    assert_eq!(listed["items"], json!([shown]));
    let patched = scene.harness.patch(SHOP, &path_of(made), json!({ "rate_limit": 5 })).await.answered(200);
    assert_eq!(patched["public_key"], made["public_key"]);
    for answer in [made, &shown, &listed, &patched] {
        assert!(!answer.to_string().contains("whsk_") && !answer.to_string().contains("whsec_"), "{answer}");
    }
    assert!(scene.believes(&made["public_key"], &scene.received().await));
}

#[tokio::test]
async fn a_shared_secret_is_the_default_and_has_no_public_key() {
    let harness = Harness::new().await;
    let made = harness.subscribe(SHOP, "orders").await;
    assert_eq!((&made["signature"], &made["public_key"]), (&json!("v1"), &Value::Null));
    assert_eq!(made["public_keys"], json!([]));
    assert_eq!(made["secrets"], json!([{ "created_at": made["created_at"], "expires_at": null }]));
}

#[tokio::test]
async fn a_running_rotation_shows_when_each_secret_was_made_and_when_the_one_before_ends() {
    let scene = Scene::signed_by("v1").await;
    scene.harness.clock.advance(Duration::from_mins(5));
    let end = scene.rotate(json!({ "overlap": "1h" })).await["overlap_until"].clone();
    let newest = json!({ "created_at": "2026-01-01T00:05:00Z", "expires_at": null });
    let before = json!({ "created_at": scene.made["created_at"], "expires_at": end });
    assert_eq!(scene.show().await["secrets"], json!([newest, before]));
    scene.harness.clock.advance(Duration::from_hours(1));
    assert_eq!(scene.show().await["secrets"], json!([newest]));
}

#[tokio::test]
async fn while_key_pairs_overlap_either_public_key_verifies_and_both_are_shown() {
    let scene = Scene::signed_by("v1a").await;
    let first = scene.made["public_key"].clone();
    let rotated = scene.rotate(json!({ "overlap": "1h" })).await;
    let second = &rotated["public_key"];
    assert_ne!(*second, first);
    assert_eq!((&rotated["signature"], &rotated["secret"]), (&json!("v1a"), &Value::Null));
    let end = &rotated["overlap_until"];
    let both =
        json!([{ "public_key": second, "expires_at": null }, { "public_key": first, "expires_at": end }]);
    assert_eq!(scene.show().await["public_keys"], both);
    let webhook = scene.received().await;
    assert!(scene.believes(&first, &webhook) && scene.believes(second, &webhook));
    scene.harness.clock.advance(Duration::from_hours(1));
    assert_eq!(scene.show().await["public_keys"].as_array().map(Vec::len), Some(1));
    let webhook = scene.received().await;
    assert!(!scene.believes(&first, &webhook) && scene.believes(second, &webhook));
}

#[tokio::test]
async fn a_rotation_to_the_other_scheme_signs_in_both_until_the_overlap_ends() {
    let scene = Scene::signed_by("v1").await;
    let secret = scene.made["secret"].clone();
    let rotated = scene.rotate(json!({ "signature": "v1a", "overlap": "1h" })).await;
    assert_eq!(rotated["secret"], Value::Null);
    let shown = scene.show().await;
    assert_eq!((&shown["signature"], &shown["public_key"]), (&json!("v1a"), &rotated["public_key"]));
    let webhook = scene.received().await;
    assert!(scene.believes(&secret, &webhook) && scene.believes(&rotated["public_key"], &webhook));
    let back = scene.rotate(json!({ "signature": "v1", "overlap": "0s" })).await;
    assert_eq!((&back["signature"], &back["public_key"]), (&json!("v1"), &Value::Null));
    let webhook = scene.received().await;
    assert!(scene.believes(&back["secret"], &webhook));
    assert!(!scene.believes(&secret, &webhook) && !scene.believes(&rotated["public_key"], &webhook));
}
