//! What is secret shows nowhere but where it is meant to.

use std::fs;

use serde_json::json;

use super::foreign::order_paid;
use crate::harness::{
    ACCOUNT_KEY, Footing, Kind, OPERATOR_KEY, Publisher, SECRET_KEYS, SHOP_KEY, Service, Stack, text,
};

/// A problem may tell callers what they themselves have sent, in the field that is wrong.
const QUOTING: &str = "a problem that quotes its request";

/// After keys were made, used, rotated and refused: logs, metrics and problems hold none of them, nor
/// what was told; and the database file holds no signing key in plain text.
pub async fn no_secret_is_in_a_log_a_metric_a_problem_or_the_database_file(footing: Footing) {
    let stack = Stack::start(footing).await;
    let shared =
        stack.subscribe("shared", &["order.paid"], json!({ "headers": { "x-token": "hush-token" } })).await;
    let pair = stack.subscribe("pair", &["order.paid"], json!({ "signature": "v1a" })).await;
    let rotate = format!("/v1/subscriptions/{}/rotate-secret", shared.id);
    let rotated = text(&stack.notifier.post(&rotate, &json!({})).await.expect(200)["secret"]);
    Publisher::connect(&stack.footing)
        .await
        .publish(&[order_paid("order-7", r#"{"card":"hush-card"}"#)])
        .await;
    for subscriber in [&shared, &pair] {
        stack.until_notification(&subscriber.id, "order-7", "delivered").await;
    }

    let mut shown = Vec::new();
    let refused = json!({ "name": &rotated, "url": &rotated, "event_types": [&rotated], "secret": &rotated });
    for answer in [
        stack.notifier.with_key(&rotated).get("/v1/subscriptions").await,
        stack.notifier.post("/v1/subscriptions", &refused).await,
        stack.notifier.post(&rotate, &json!({ "overlap": &rotated })).await,
    ] {
        assert!((400..500).contains(&answer.status), "{}", answer.text);
        let quotes = answer.status == 422;
        shown.push((if quotes { QUOTING } else { "a problem" }.to_owned(), answer.text));
    }
    shown.push(("the metrics".to_owned(), stack.api(Service::Notifier).get("/metrics").await.text));
    for file in fs::read_dir(stack.footing.folder.path()).expect("the folder is there") {
        let path = file.expect("a file").path();
        let name = path.display().to_string();
        let of_notifier = stack.footing.kind == Kind::Sqlite && name.contains("/notifier.db");
        let extension = path.extension().unwrap_or_default();
        if extension == "log" || (of_notifier && extension != "keys") {
            let bytes = fs::read(&path).expect("readable");
            shown.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    assert!(shown.iter().any(|(name, text)| name.contains("notifier") && !text.is_empty()));
    let key = SECRET_KEYS.split_once(':').expect("an id and a key").1;
    let everywhere =
        [shared.key.as_str(), &rotated, "whsec_", "whsk_", OPERATOR_KEY, SHOP_KEY, ACCOUNT_KEY, key];
    for (name, text) in &shown {
        let told: &[&str] = if name.contains(".db") { &[] } else { &["hush-token", "hush-card"] };
        let own = |secret: &&&str| name == QUOTING && rotated.starts_with(**secret);
        for secret in everywhere.iter().chain(told).filter(|secret| !own(secret)) {
            assert!(!text.contains(secret), "`{secret}` is in {name}");
        }
    }
}
