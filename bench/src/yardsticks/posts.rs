//! Plain HTTP `POST`s with the webhook's body and headers, from the client the notifier uses with
//! the settings it uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, redirect, retry};
use tokio::task::JoinSet;

use super::HTTP_POSTS;
use crate::clock;
use crate::events::{ACCOUNT_MERCHANT, Maker, webhook};
use crate::figures::Figures;
use crate::receiver::{Manner, Receiver};

const WARM_UP: usize = 4_000;
const POSTS: usize = 40_000;

pub(super) async fn measure(receiver: &Receiver, in_flight: usize) -> anyhow::Result<Figures> {
    let maker = Maker::new(0);
    let bodies = || -> Vec<String> {
        (0..POSTS).map(|_| webhook(&maker.succeeded(ACCOUNT_MERCHANT, "6222021001"))).collect()
    };
    let (client, url) = (client()?, receiver.url(0, Manner::Good));
    post_all(&client, &url, bodies()[..WARM_UP].to_vec(), in_flight).await?;
    receiver.empty();
    let bodies = bodies();
    let from = clock::now();
    post_all(&client, &url, bodies, in_flight).await?;
    let to = clock::now();
    let tally = receiver.empty();
    ensure!(tally.arrivals.len() == POSTS && tally.again == 0, "the yardstick's receiver lost something");
    let mut figures = Figures::default();
    figures.add_rate(HTTP_POSTS, POSTS, from, to);
    Ok(figures)
}

async fn post_all(client: &Client, url: &str, bodies: Vec<String>, in_flight: usize) -> anyhow::Result<()> {
    let (next, bodies) = (Arc::new(AtomicUsize::new(0)), Arc::new(bodies));
    let mut posting = JoinSet::new();
    for _ in 0..in_flight {
        let (client, url, next, bodies) = (client.clone(), url.to_owned(), next.clone(), bodies.clone());
        posting.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = client.post(&url).headers(headers()).body(body.clone()).send().await?;
                answer.error_for_status()?.bytes().await?;
            }
            Ok::<(), reqwest::Error>(())
        });
    }
    while let Some(ended) = posting.join_next().await {
        ended??;
    }
    Ok(())
}

/// As the notifier's client, without its resolver, which an IP address does not need.
fn client() -> reqwest::Result<Client> {
    Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .no_proxy()
        .pool_max_idle_per_host(256)
        .pool_idle_timeout(Duration::from_secs(4))
        .tcp_nodelay(true)
        .build()
}

/// As many bytes as a webhook's, without the work of signing.
fn headers() -> HeaderMap {
    let signature = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=";
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", "Ringback/0.1.0"),
        ("webhook-id", "019a0000-0000-7000-8000-000000000000"),
        ("webhook-timestamp", "1770000000"),
        ("webhook-signature", signature),
    ];
    headers
        .into_iter()
        .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)))
        .collect()
}
