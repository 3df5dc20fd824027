//! The subscribers of the story: one that refuses twice, one that never answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use super::narrator::Narrator;

/// What the hesitant subscriber answers at first, one attempt after another; then it accepts.
const REFUSALS: [StatusCode; 2] = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];

#[derive(Clone)]
struct Subscriber {
    name: &'static str,
    /// Attempts seen, by `webhook-id`: the same on every attempt of one notification.
    attempts: Arc<Mutex<HashMap<String, usize>>>,
    narrator: Narrator,
}

impl Subscriber {
    fn new(name: &'static str, narrator: &Narrator) -> Self {
        Self { name, attempts: Arc::default(), narrator: narrator.clone() }
    }

    /// The number of this attempt, and of all attempts so far.
    fn count(&self, headers: &HeaderMap) -> (usize, usize) {
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(id.to_owned()).or_default();
        *attempt += 1;
        (*attempt, attempts.values().sum())
    }
}

/// Refuses twice, then accepts. Answers its URL.
pub async fn hesitant(name: &'static str, narrator: &Narrator) -> anyhow::Result<String> {
    listen(Router::new().route("/", post(refuse_twice)).with_state(Subscriber::new(name, narrator))).await
}

/// Takes every call and never says a word. Answers its URL.
pub async fn silent(name: &'static str, narrator: &Narrator) -> anyhow::Result<String> {
    listen(Router::new().route("/", post(say_nothing)).with_state(Subscriber::new(name, narrator))).await
}

async fn listen(router: Router) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn refuse_twice(State(me): State<Subscriber>, headers: HeaderMap) -> StatusCode {
    let (attempt, all) = me.count(&headers);
    let answer = REFUSALS.get(all - 1).copied().unwrap_or(StatusCode::NO_CONTENT);
    let verb = if answer.is_success() { "accepts" } else { "refuses" };
    me.narrator.tell(me.name, &format!("rung, attempt {attempt}: {verb} with {answer}"));
    answer
}

async fn say_nothing(State(me): State<Subscriber>, headers: HeaderMap) -> StatusCode {
    let (attempt, _) = me.count(&headers);
    me.narrator.tell(me.name, &format!("rung, attempt {attempt}: says nothing until the notifier hangs up"));
    std::future::pending().await
}
