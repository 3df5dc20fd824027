//! Sends webhooks over one HTTP client.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::{Client, ClientBuilder, Response, redirect, retry};
use runtime::SharedClock;
use runtime::problem::Chain;
use tokio::time::{Instant, timeout_at};

use crate::domain::attempt::MAX_EXCERPT_BYTES;
use crate::domain::{Endpoint, Exchange, FailureClass, Message, Outcome};

use super::address_policy::AddressPolicy;
use super::coalesced::Coalesced;
use super::failure::classify;
use super::judge::{Body, MAX_BODY_BYTES, excerpt, judge};
use super::request::headers;
use super::resolver::{GuardedResolver, Lookup};
use super::retry_after::retry_after;

/// Idle connections kept per receiver.
const MAX_IDLE: usize = 32;
/// Shorter than the 5 s after which common servers close idle connections, so that a request
/// seldom meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Makes one attempt.
#[async_trait]
pub trait SendWebhook: Send + Sync + 'static {
    /// Sends `message` to `endpoint`; answers within the endpoint's timeout, whatever happens.
    async fn send(&self, endpoint: &Endpoint, message: &Message) -> Exchange;
}

/// The production sender: no redirects, no proxies, no cookies, no decompression, no retries of
/// its own, kept-alive connections, and only to addresses that the policy permits.
pub struct WebhookClient {
    http: Client,
    policy: Arc<AddressPolicy>,
    clock: SharedClock,
}

impl WebhookClient {
    /// A client that reaches what `policy` permits. A machine without any CA certificates still
    /// gets one; it can then reach no `https` endpoint.
    pub fn new(
        policy: Arc<AddressPolicy>,
        lookup: Arc<dyn Lookup>,
        clock: SharedClock,
    ) -> Result<Self, reqwest::Error> {
        let lookup = Arc::new(Coalesced::new(lookup));
        let resolver = Arc::new(GuardedResolver::new(lookup, policy.clone()));
        let http = builder(resolver.clone()).build().or_else(|error| {
            tracing::warn!(error = %Chain(&error), "webhook.no_ca_certificates");
            builder(resolver).tls_certs_only([]).build()
        })?;
        Ok(Self { http, policy, clock })
    }

    async fn exchange(&self, endpoint: &Endpoint, message: &Message, began: DateTime<Utc>) -> Answer {
        if let Err(blocked) = self.policy.check_literal(&endpoint.url) {
            return Answer::failed(FailureClass::BlockedTarget, blocked.to_string());
        }
        let headers = match headers(endpoint, message, began) {
            Ok(headers) => headers,
            Err(error) => return Answer::failed(FailureClass::Protocol, Chain(&error).to_string()),
        };
        let deadline = Instant::now() + endpoint.timeout.get();
        let request = self.http.post(endpoint.url.clone()).headers(headers).body(message.body.clone());
        match timeout_at(deadline, request.send()).await {
            Err(_) => Answer::failed(FailureClass::Timeout, "no answer in time".into()),
            Ok(Err(error)) => {
                let (class, error) = classify(error, endpoint.url.scheme() == "https");
                Answer::failed(class, error)
            }
            Ok(Ok(response)) => self.answer(response, deadline, endpoint).await,
        }
    }

    async fn answer(&self, response: Response, deadline: Instant, endpoint: &Endpoint) -> Answer {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read(response, deadline).await;
        let (outcome, error) = judge(status, &body, &endpoint.ack);
        Answer {
            outcome,
            status: Some(status.as_u16()),
            error,
            excerpt: excerpt(body.bytes(), MAX_EXCERPT_BYTES),
            retry_after: retry_after(status, &headers, self.clock.now()),
        }
    }
}

#[async_trait]
impl SendWebhook for WebhookClient {
    async fn send(&self, endpoint: &Endpoint, message: &Message) -> Exchange {
        let started_at = self.clock.now();
        let began = Instant::now();
        let answer = self.exchange(endpoint, message, started_at).await;
        Exchange {
            started_at,
            duration: began.elapsed(),
            outcome: answer.outcome,
            http_status: answer.status,
            error: answer.error,
            response_excerpt: answer.excerpt,
            retry_after: answer.retry_after,
        }
    }
}

fn builder(resolver: Arc<GuardedResolver>) -> ClientBuilder {
    Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .no_proxy()
        .dns_resolver(resolver)
        .pool_max_idle_per_host(MAX_IDLE)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
}

/// What an exchange brought, without its times.
struct Answer {
    outcome: Outcome,
    status: Option<u16>,
    error: Option<String>,
    excerpt: Option<String>,
    retry_after: Option<Duration>,
}

impl Answer {
    fn failed(class: FailureClass, error: String) -> Self {
        let outcome = Outcome::Failed(class);
        Self { outcome, status: None, error: Some(error), excerpt: None, retry_after: None }
    }
}

/// Reads the answer's body until its end, [`MAX_BODY_BYTES`] or the deadline. What is left unread
/// closes the connection.
async fn read(mut response: Response, deadline: Instant) -> Body {
    let mut read = Vec::new();
    loop {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(None)) => return Body::Whole(read),
            Ok(Ok(Some(chunk))) if read.len() + chunk.len() > MAX_BODY_BYTES => {
                read.extend_from_slice(&chunk[..MAX_BODY_BYTES - read.len()]);
                return Body::Cut(read);
            }
            Ok(Ok(Some(chunk))) => read.extend_from_slice(&chunk),
            Ok(Err(_)) => {
                return Body::Broken(read, FailureClass::Body, "the answer's body broke off".into());
            }
            Err(_) => {
                let error = "the answer's body did not end in time".into();
                return Body::Broken(read, FailureClass::Timeout, error);
            }
        }
    }
}
