//! Group commit: callers that arrive while a batch is being written share the next one.
//!
//! A lone caller waits for nobody; a flood goes in large batches. The size adapts by itself, since
//! the next batch is whatever arrived meanwhile.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

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
            while waiting.recv_many(&mut entries, max_batch).await > 0 {
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

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn callers_that_arrive_together_share_a_batch() {
        let batcher = Batcher::spawn(Sizes, 100);
        let (a, b, c) = tokio::join!(batcher.submit(()), batcher.submit(()), batcher.submit(()));
        assert_eq!((a, b, c), (Ok(3), Ok(3), Ok(3)));
    }
}
