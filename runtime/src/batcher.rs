//! Group commit: callers that arrive while a batch is being written share the next one.
//!
//! A lone caller waits for nobody; a flood goes in large batches. The size adapts by itself, since
//! the next batch is whatever arrived meanwhile, and in a flood what arrives soon after.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// A batch of this size tells of a flood.
const FLOOD: usize = 8;
/// How long the first of a batch waits for company in a flood: as long as a commit, so that batches
/// are about twice as large, and each caller waits little longer.
const LINGER: Duration = Duration::from_millis(2);

/// Handles a batch as one piece of work.
#[async_trait]
pub trait HandleBatch: Send + 'static {
    /// What one caller hands in.
    type Item: Send + 'static;
    /// What one caller gets back.
    type Answer: Send + 'static;

    /// Handles `items`, answering each, in their order.
    async fn handle(&mut self, items: Vec<Self::Item>) -> Vec<Self::Answer>;
}

/// The batch that held this item never answered: the process is ending, or the handler panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the batch was given up")]
pub struct Stopped;

/// The callers' side. Clones share one queue.
pub struct Batcher<H: HandleBatch> {
    queue: mpsc::Sender<(H::Item, oneshot::Sender<H::Answer>)>,
}

impl<H: HandleBatch> Clone for Batcher<H> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<H: HandleBatch> Batcher<H> {
    /// Spawns `handler` with batches of at most `max_batch`. As many callers again may wait; more
    /// are held back in [`Batcher::submit`]. The task ends when the last clone is dropped.
    pub fn spawn(mut handler: H, max_batch: usize) -> Self {
        let (queue, mut waiting) = mpsc::channel(max_batch);
        tokio::spawn(async move {
            let mut entries = Vec::with_capacity(max_batch);
            let mut last_batch = 0;
            while waiting.recv_many(&mut entries, max_batch).await > 0 {
                if last_batch >= FLOOD {
                    linger(&mut waiting, &mut entries, max_batch).await;
                }
                last_batch = entries.len();
                let (items, callers): (Vec<_>, Vec<oneshot::Sender<H::Answer>>) = entries.drain(..).unzip();
                let Ok(answers) = AssertUnwindSafe(handler.handle(items)).catch_unwind().await else {
                    // The panic has been printed. Its callers are told; the next batch gets its chance.
                    tracing::error!(batch.size = callers.len(), "batch.panicked");
                    continue;
                };
                debug_assert_eq!(answers.len(), callers.len(), "one answer per item");
                for (caller, answer) in callers.into_iter().zip(answers) {
                    // A caller that hung up still had its item handled.
                    let _ = caller.send(answer);
                }
            }
        });
        Self { queue }
    }

    /// Hands in `item` and waits for its answer.
    pub async fn submit(&self, item: H::Item) -> Result<H::Answer, Stopped> {
        let (caller, answer) = oneshot::channel();
        self.queue.send((item, caller)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

/// Adds what arrives within [`LINGER`].
async fn linger<T>(waiting: &mut mpsc::Receiver<T>, entries: &mut Vec<T>, max_batch: usize) {
    let end = Instant::now() + LINGER;
    while entries.len() < max_batch {
        let room = max_batch - entries.len();
        match timeout_at(end, waiting.recv_many(entries, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    struct Sizes;

    #[async_trait]
    impl HandleBatch for Sizes {
        type Item = ();
        type Answer = usize;

        async fn handle(&mut self, items: Vec<()>) -> Vec<usize> {
            vec![items.len(); items.len()]
        }
    }

    #[tokio::test]
    async fn a_lone_caller_waits_for_nobody() {
        let batcher = Batcher::spawn(Sizes, 100);
        assert_eq!(batcher.submit(()).await, Ok(1));
    }

    struct PanicsOnZero;

    #[async_trait]
    impl HandleBatch for PanicsOnZero {
        type Item = u32;
        type Answer = u32;

        async fn handle(&mut self, items: Vec<u32>) -> Vec<u32> {
            items.into_iter().map(|item| 100 / item).collect()
        }
    }

    #[tokio::test]
    async fn a_batch_that_panics_is_given_up_and_the_next_is_handled() {
        let batcher = Batcher::spawn(PanicsOnZero, 100);
        assert_eq!(batcher.submit(0).await, Err(Stopped));
        assert_eq!(batcher.submit(5).await, Ok(20));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_flood_a_batch_waits_a_little_for_company_and_then_no_more() {
        let batcher = Batcher::spawn(Sizes, 100);
        let flood = join_all((0..FLOOD).map(|_| batcher.submit(()))).await;
        assert_eq!(flood, vec![Ok(FLOOD); FLOOD]);
        let later = async {
            tokio::time::sleep(LINGER / 2).await;
            batcher.submit(()).await
        };
        assert_eq!(tokio::join!(batcher.submit(()), later), (Ok(2), Ok(2)));
        let began = Instant::now();
        assert_eq!(batcher.submit(()).await, Ok(1));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn callers_that_arrive_together_share_a_batch() {
        let batcher = Batcher::spawn(Sizes, 100);
        let (a, b, c) = tokio::join!(batcher.submit(()), batcher.submit(()), batcher.submit(()));
        assert_eq!((a, b, c), (Ok(3), Ok(3), Ok(3)));
    }
}
