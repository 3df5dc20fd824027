//! Callers: connections that send requests one after another, in a closed loop as fast as they are
//! answered, in an open loop at a rate of their own.

mod caller;
mod pace;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use crate::clock::{self, Micros};
use caller::Caller;
pub use pace::Pace;

/// A request to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// The path on the server.
    pub path: String,
    /// Headers beside the usual ones.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A request that was answered with 2xx.
#[derive(Debug, Clone)]
pub struct Answered {
    /// When it should have been sent; in a closed loop, when it was.
    pub intended: Micros,
    /// When it was sent.
    pub sent: Micros,
    /// When the answer had been read.
    pub ended: Micros,
    /// The answer.
    pub body: Bytes,
}

/// A turn to send: which call, and when it should go out (closed loop: whenever it comes).
type Turn = (usize, Option<Micros>);

/// Who is called over how many connections.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// Connections, each with one request at a time.
    pub connections: usize,
}

impl Target {
    /// Makes all calls, each connection its next one when it has its answer.
    pub async fn closed_loop(self, calls: Vec<Call>) -> anyhow::Result<Vec<Answered>> {
        let (turns, queue) = unbounded_channel();
        for index in 0..calls.len() {
            turns.send((index, None)).context("the queue is open")?;
        }
        drop(turns);
        self.work(calls, queue).await
    }

    /// Makes all calls at `rate` a second, whether or not earlier ones were answered; when no
    /// connection is free a call is late, which its intended time shows.
    pub async fn open_loop(self, calls: Vec<Call>, rate: u32) -> anyhow::Result<Vec<Answered>> {
        let (turns, queue) = unbounded_channel();
        let pace = Pace::starting_soon(rate);
        let count = calls.len();
        let pacing = std::thread::spawn(move || {
            for index in 0..count {
                let intended = pace.wait_for(index);
                if turns.send((index, Some(intended))).is_err() {
                    return;
                }
            }
        });
        let answered = self.work(calls, queue).await;
        drop(pacing); // It ends by itself: with its last turn, or with the queue.
        answered
    }

    async fn work(self, calls: Vec<Call>, queue: UnboundedReceiver<Turn>) -> anyhow::Result<Vec<Answered>> {
        let (count, calls, queue) = (calls.len(), Arc::new(calls), Arc::new(Mutex::new(queue)));
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            let caller = Caller::connect(self.address).await?;
            workers.spawn(take_turns(caller, calls.clone(), queue.clone()));
        }
        let mut all = Vec::with_capacity(count);
        while let Some(worker) = workers.join_next().await {
            all.extend(worker??);
        }
        ensure!(all.len() == count, "{} of {count} calls were answered", all.len());
        Ok(all)
    }
}

async fn take_turns(
    mut caller: Caller,
    calls: Arc<Vec<Call>>,
    queue: Arc<Mutex<UnboundedReceiver<Turn>>>,
) -> anyhow::Result<Vec<Answered>> {
    let mut all = Vec::new();
    loop {
        let turn = queue.lock().await.recv().await;
        let Some((index, intended)) = turn else { return Ok(all) };
        let sent = clock::now();
        let body = caller.post(&calls[index]).await?;
        let intended = intended.unwrap_or(sent);
        all.push(Answered { intended, sent, ended: clock::now(), body });
    }
}
