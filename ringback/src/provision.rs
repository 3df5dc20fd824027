//! Gives the account-service its subscription: what an operator would do by hand, done at start.

use anyhow::Context;
use runtime::Secret;
use serde_json::{Value, json};

use crate::client::Client;
use crate::keys::{ACCOUNT_MERCHANT, Keys};

/// The name of the account-service's own subscription.
const NAME: &str = "account-service";

/// Makes sure that the account-service is subscribed at `url` and that its secret is kept.
/// Safe to repeat after a crash at any point. A secret that somebody rotated by hand is not known
/// here: take `webhook_secret` out of `keys.toml` and start again, and a fresh one is made.
pub async fn subscribe_account_service(
    notifier: &Client,
    url: &str,
    keys: &mut Keys,
) -> anyhow::Result<Secret> {
    let Some(subscription) = find(notifier).await? else { return create(notifier, url, keys).await };
    let path =
        format!("/v1/subscriptions/{}", subscription["id"].as_str().context("a subscription has an id")?);
    if subscription["url"] != url {
        notifier.patch(&path, json!({ "url": url })).await?;
    }
    if let Some(secret) = &keys.webhook_secret {
        return Ok(secret.clone());
    }
    let rotated = notifier.post(&format!("{path}/rotate-secret"), json!({})).await?;
    keep(&rotated, keys)
}

async fn create(notifier: &Client, url: &str, keys: &mut Keys) -> anyhow::Result<Secret> {
    let body = json!({
        "name": NAME,
        "merchant": ACCOUNT_MERCHANT,
        "url": url,
        "event_types": ["recharge.*"],
        "description": "The account-service of this process; made at its first start.",
    });
    let created = notifier.post("/v1/subscriptions", body).await?;
    keep(&created, keys)
}

fn keep(answer: &Value, keys: &mut Keys) -> anyhow::Result<Secret> {
    let secret = Secret::new(answer["secret"].as_str().context("the notifier answers the new secret")?);
    keys.keep_webhook_secret(secret.clone())?;
    Ok(secret)
}

async fn find(notifier: &Client) -> anyhow::Result<Option<Value>> {
    let mut cursor = String::new();
    loop {
        let page = notifier.get(&format!("/v1/subscriptions?limit=200{cursor}")).await?;
        let ours = |s: &&Value| s["name"] == NAME && s["merchant"] == ACCOUNT_MERCHANT;
        if let Some(found) = page["items"].as_array().into_iter().flatten().find(ours) {
            return Ok(Some(found.clone()));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(None),
        }
    }
}
