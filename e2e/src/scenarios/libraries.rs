//! Webhooks held against programs that others wrote.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::testing::required_variable;
use serde_json::{Value, json};

use super::foreign::order_paid;
use crate::harness::{Footing, Publisher, Received, Stack, Subscriber, text};

/// Bytes that a careless receiver or sender would change on the way.
const DATA: &str = r#"{ "total": 1.50,  "note": "支付成功 \u00fc\/" }"#;

/// The standard's own library verifies `v1`, a well-known Ed25519 verifies `v1a`, each also in the
/// midst of a rotation; and neither believes anything else.
pub async fn a_receivers_own_libraries_verify_what_it_gets(footing: Footing) {
    let stack = Stack::start(footing).await;
    let shared = stack.subscribe("shared", &["order.paid"], json!({})).await;
    let pair = stack.subscribe("pair", &["order.paid"], json!({ "signature": "v1a" })).await;
    let from_shared = stack.subscribe("from-shared", &["order.paid"], json!({})).await;
    let from_pair = stack.subscribe("from-pair", &["order.paid"], json!({ "signature": "v1a" })).await;
    let to_pair = rotate(&stack, &from_shared, json!({ "signature": "v1a" })).await;
    let to_next_pair = rotate(&stack, &from_pair, json!({})).await;
    let ended = rotate(&stack, &shared, json!({ "overlap": "0s" })).await;
    let (shared, replaced) = (Subscriber { key: ended, ..shared.clone() }, shared);

    Publisher::connect(&stack.footing).await.publish(&[order_paid("order-7", DATA)]).await;
    let mut claims = Vec::new();
    for (subscriber, keys) in [
        (&shared, vec![&shared.key]),
        (&pair, vec![&pair.key]),
        (&from_shared, vec![&from_shared.key, &to_pair]),
        (&from_pair, vec![&from_pair.key, &to_next_pair]),
    ] {
        stack.until_notification(&subscriber.id, "order-7", "delivered").await;
        let webhook = &stack.receiver.received(&subscriber.path)[0];
        claims.extend(keys.iter().map(|key| (claim(key, webhook), true)));
        claims.extend(forgeries(keys[0], webhook).into_iter().map(|forged| (forged, false)));
        claims.extend([&replaced.key, &STRANGER.to_owned()].map(|key| (claim(key, webhook), false)));
    }
    let (claims, expected): (Vec<_>, Vec<_>) = claims.into_iter().unzip();
    assert_eq!(verified(&claims), expected, "{claims:#?}");
}

/// A public key of nobody here.
const STRANGER: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

/// The new key to verify with.
async fn rotate(stack: &Stack, subscriber: &Subscriber, how: Value) -> String {
    let path = format!("/v1/subscriptions/{}/rotate-secret", subscriber.id);
    let rotated = stack.notifier.post(&path, &how).await.expect(200);
    text(if rotated["secret"].is_null() { &rotated["public_key"] } else { &rotated["secret"] })
}

fn claim(key: &str, webhook: &Received) -> Value {
    let headers: HashMap<_, _> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name, webhook.header(name)))
        .into();
    json!({ "key": key, "headers": headers, "body": STANDARD.encode(&webhook.body) })
}

/// The same with a changed id, time or body.
fn forgeries(key: &str, webhook: &Received) -> [Value; 3] {
    let mut forged = [(); 3].map(|()| claim(key, webhook));
    forged[0]["headers"]["webhook-id"] = "paid-order-8".into();
    let sent: i64 = webhook.header("webhook-timestamp").parse().expect("seconds");
    forged[1]["headers"]["webhook-timestamp"] = (sent - 1).to_string().into();
    let body = String::from_utf8_lossy(&webhook.body).replace("1.50", "15.0");
    forged[2]["body"] = STANDARD.encode(body).into();
    forged
}

/// What the libraries say of each claim.
fn verified(claims: &[Value]) -> Vec<bool> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/libraries/verify.py");
    let mut python = Command::new(required_variable("TEST_PYTHON"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("TEST_PYTHON runs");
    let input = serde_json::to_vec(claims).expect("JSON");
    python.stdin.take().expect("piped").write_all(&input).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "verify.py failed; ./scripts/test brings what it needs");
    serde_json::from_slice(&output.stdout).expect("a list")
}
