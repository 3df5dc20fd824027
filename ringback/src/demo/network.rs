//! The network between the notifier and the account-service, which can lose a notification: it
//! says 200 as if it had been received, and drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::narrator::Narrator;

/// Forwards webhooks to the account-service, but for one that it loses when told to.
#[derive(Clone)]
pub struct Network {
    target: Arc<str>,
    lose_next: Arc<AtomicBool>,
    lost: Arc<Notify>,
    http: reqwest::Client,
    narrator: Narrator,
}

impl Network {
    /// A network that ends at `target`.
    pub fn new(target: String, narrator: Narrator) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let (lose_next, lost) = (Arc::default(), Arc::default());
        Ok(Self { target: target.into(), lose_next, lost, http, narrator })
    }

    /// Starts it and answers its near end.
    pub async fn connect(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = format!("http://{}/v1/notifications", listener.local_addr()?);
        let router = Router::new().route("/v1/notifications", post(pass)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(near)
    }

    /// The next webhook will be lost.
    pub fn lose_next(&self) {
        self.lose_next.store(true, Ordering::SeqCst);
    }

    /// Waits until it has been.
    pub async fn lost_one(&self) {
        self.lost.notified().await;
    }

    async fn forward(&self, headers: HeaderMap, body: Bytes) -> anyhow::Result<StatusCode> {
        let request = self.http.post(&*self.target).headers(headers).body(body);
        Ok(request.send().await.context("the account-service is reached")?.status())
    }
}

async fn pass(State(network): State<Network>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if network.lose_next.swap(false, Ordering::SeqCst) {
        network.narrator.tell("network", "says 200 to the notifier and loses the notification for good");
        network.lost.notify_one();
        return StatusCode::OK;
    }
    network.forward(headers, body).await.unwrap_or(StatusCode::BAD_GATEWAY)
}
