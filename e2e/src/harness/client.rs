//! Calling the services as any client does.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(35);

/// A service's address and the key to call it with.
#[derive(Clone)]
pub struct Api {
    http: Client,
    base: String,
    key: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in the answer {}: {}", self.status, self.text))
    }

    /// The body as JSON; panics when the answer has another status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "the answer is {}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A header's text, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Api {
    /// The service at `address`, such as `http://127.0.0.1:8081`. Every call has a connection of
    /// its own, so that a restarted service is never met on a dead one.
    pub fn new(base: impl Into<String>, key: &str) -> Self {
        let http = builder().pool_max_idle_per_host(0).build().expect("a plain client can be built");
        Self { http, base: base.into(), key: Some(key.to_owned()) }
    }

    /// The same service called over kept-alive connections, for many calls.
    #[must_use]
    pub fn kept_alive(&self) -> Self {
        let http = builder().build().expect("a plain client can be built");
        Self { http, ..self.clone() }
    }

    /// The same service called with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same service called without a key.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The address of the service.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.must(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.must(Method::POST, path, Some(body)).await
    }

    /// `PATCH path` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.must(Method::PATCH, path, Some(body)).await
    }

    async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        let headers = body.map(|_| (CONTENT_TYPE.as_str(), "application/json"));
        let answer = self.call(method.clone(), path, headers.as_slice(), text.unwrap_or_default()).await;
        answer.unwrap_or_else(|error| panic!("{method} {}{path}: {error:?}", self.base))
    }

    /// Any request; an error when no answer came.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, text: answer.text().await? })
    }

    /// Whether `/readyz` says that the service is ready.
    pub async fn is_ready(&self) -> bool {
        self.call(Method::GET, "/readyz", &[], "").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Every item of a list, page by page. `path` may have a query.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{joint}limit=200{cursor}")).await.expect(200);
            items.extend(page["items"].as_array().expect("a list has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder().timeout(TIMEOUT).no_proxy()
}
