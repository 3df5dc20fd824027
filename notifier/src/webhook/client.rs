//! Sends webhooks over one HTTP client.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::response::Parts;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use runtime::SharedClock;
use runtime::problem::Chain;
use tokio::time::{Instant, timeout_at};

use crate::domain::attempt::MAX_EXCERPT_BYTES;
use crate::domain::{Endpoint, Exchange, FailureClass, Message, Outcome};

use super::connector::Connector;
use super::egress::Egress;
use super::failure::classify;
use super::judge::{Body, MAX_BODY_BYTES, excerpt, judge};
use super::lookup::Lookup;
use super::progress::Progress;
use super::request::{Payload, request};
use super::retry_after::retry_after;
use super::socket::{MadeAt, Unwritable};

/// Idle connections kept per receiver: as many as a wide lane had in use a moment ago, so that a burst
/// does not close what the next one opens again.
const MAX_IDLE: usize = 256;
/// Shorter than the 5 s after which common servers close idle connections, so that a request
/// seldom meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// The greatest age of a connection on which a request begins, so that a receiver that moves to another address is found there though
/// its connections never fall idle.
const MAX_AGE: Duration = Duration::from_mins(1);
/// The longest head of an answer, and the most that one connection reads ahead, in bytes.
const MAX_READ_AHEAD: usize = 64 * 1024;
/// The most headers of an answer. Room for all of them is made for each answer, so a larger bound costs
/// every answer: 16 384 took a quarter of the notifier's time.
const MAX_HEADERS: usize = 1024;
/// The most pieces that a body is taken in: a chunk of one byte costs as much work as a large one.
const MAX_PIECES: usize = 4096;

/// Makes one attempt.
#[async_trait]
pub trait SendWebhook: Send + Sync + 'static {
    /// Sends `message` to `endpoint`; answers within the endpoint's timeout, whatever happens.
    async fn send(&self, endpoint: &Endpoint, message: &Message) -> Exchange;
}

/// The production sender: no redirects, no cookies, no decompression, kept-alive connections, and
/// only to addresses that the policy permits.
///
/// It retries nothing by itself, but for one case: a kept-alive connection that turns out to be
/// closed before the request was written to it is replaced, within the same attempt.
pub struct WebhookClient {
    http: Client<Connector, Payload>,
    clock: SharedClock,
    max_age: Duration,
}

impl WebhookClient {
    /// A client that finds names by `lookup` and leaves by `egress`.
    pub fn new(egress: Egress, lookup: Arc<dyn Lookup>, clock: SharedClock) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .http1_max_buf_size(MAX_READ_AHEAD)
            .http1_max_headers(MAX_HEADERS)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(true)
            .build(Connector::new(lookup, egress));
        Self { http, clock, max_age: MAX_AGE }
    }

    /// The same with another greatest age of its connections.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// Whether the connection of `response` must not have another request: it could be too old by then.
    fn is_to_retire(&self, response: &hyper::Response<Incoming>) -> bool {
        let age = response.extensions().get::<MadeAt>().map_or(self.max_age, |made_at| made_at.age());
        age + IDLE_TIMEOUT >= self.max_age
    }

    async fn exchange(&self, endpoint: &Endpoint, message: &Message, began: DateTime<Utc>) -> Answer {
        let progress = Progress::within(endpoint.timeout.get());
        let mut request = match request(endpoint, message, began, progress.clone()) {
            Ok(request) => request,
            Err(error) => return Answer::failed(FailureClass::Protocol, Chain(&error).to_string()),
        };
        let connection = capture_connection(&mut request);
        let deadline = progress.deadline();
        let answer = progress.clone().run(self.http.request(request));
        match timeout_at(deadline, answer).await {
            Err(_) => {
                let (class, error) = progress.phase().out_of_time();
                Answer::failed(class, error.into())
            }
            Ok(Err(error)) => {
                let (class, error) = classify(&error);
                Answer::failed(class, error)
            }
            Ok(Ok(response)) => {
                let unwritable = response.extensions().get::<Unwritable>().cloned().unwrap_or_default();
                if self.is_to_retire(&response) || unwritable.is_noted() {
                    poison(&connection);
                }
                let answer = self.answer(response, deadline, endpoint).await;
                // The rest of the request may have been written meanwhile.
                if unwritable.is_noted() {
                    poison(&connection);
                }
                answer
            }
        }
    }

    async fn answer(
        &self,
        response: hyper::Response<Incoming>,
        deadline: Instant,
        endpoint: &Endpoint,
    ) -> Answer {
        let (Parts { status, headers, .. }, body) = response.into_parts();
        let body = read(body, deadline).await;
        let (outcome, error) = judge(status, &body, &endpoint.ack);
        Answer {
            outcome,
            status: Some(status.as_u16()),
            error,
            excerpt: excerpt(body.bytes(), MAX_EXCERPT_BYTES),
            retry_after: retry_after(status, &headers, self.clock.wall()),
        }
    }
}

#[async_trait]
impl SendWebhook for WebhookClient {
    async fn send(&self, endpoint: &Endpoint, message: &Message) -> Exchange {
        let (started_at, steps) = (self.clock.now(), self.clock.timeline().steps());
        let began = Instant::now();
        let answer = self.exchange(endpoint, message, self.clock.wall()).await;
        let (ended_at, duration) = (self.clock.now(), began.elapsed());
        let stepped = self.clock.timeline().steps() != steps;
        Exchange {
            // By the clock of its end, as everything that is written with it.
            started_at: if stepped { ended_at - duration } else { started_at },
            duration,
            outcome: answer.outcome,
            http_status: answer.status,
            error: answer.error,
            response_excerpt: answer.excerpt,
            retry_after: answer.retry_after,
        }
    }
}

/// Keeps `connection` from another request.
fn poison(connection: &CaptureConnection) {
    if let Some(connection) = connection.connection_metadata().as_ref() {
        connection.poison();
    }
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

/// Reads the answer's body until its end, [`MAX_BODY_BYTES`], [`MAX_PIECES`] or the deadline. What
/// is left unread closes the connection.
async fn read(mut body: Incoming, deadline: Instant) -> Body {
    let mut read = Vec::new();
    for _ in 0..MAX_PIECES {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(None) => return Body::Whole(read),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => {
                return Body::Broken(read, FailureClass::Body, "the answer's body broke off".into());
            }
            Err(_) => {
                let error = "the answer's body did not end in time".into();
                return Body::Broken(read, FailureClass::Timeout, error);
            }
        };
        // Trailers say nothing to us.
        let Ok(chunk) = frame.into_data() else { continue };
        let room = MAX_BODY_BYTES - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Body::Cut(read);
        }
    }
    Body::Cut(read)
}
