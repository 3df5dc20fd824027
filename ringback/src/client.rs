//! A small client of the services' own HTTP interfaces: what any other program would do.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use runtime::Secret;
use serde_json::Value;

/// Calls one service with one key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Secret,
}

impl Client {
    /// Calls `base` (`http://127.0.0.1:8081`) with `key`.
    pub fn new(base: impl Into<String>, key: &Secret) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http, base: base.into(), key: key.clone() })
    }

    /// The service's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads `path`.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Sends `body` to `path`.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Changes what is at `path` by `body`.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let what = format!("{method} {}{path}", self.base);
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.key.expose());
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| what.clone())?;
        let status = response.status();
        let answer: Value = response.json().await.with_context(|| format!("{what}: {status}"))?;
        if status.is_success() {
            return Ok(answer);
        }
        bail!("{what}: {status}: {}", answer["detail"].as_str().unwrap_or("no detail"))
    }
}
