//! Forgetting what was published, while the next batch is published already.

use std::sync::Arc;

use runtime::database::{StoreResult, bounded};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::OutboxStore;

/// The rows of one batch that are being forgotten. Should the process end first, their lease ends and they
/// are published again, which receivers recognise by the event's id.
#[derive(Default)]
pub(super) struct Finishing(Option<JoinHandle<StoreResult<()>>>);

impl Finishing {
    /// Begins to forget `ids`, which `token` holds; `room` is free again when that has ended. Call
    /// [`Finishing::end`] first: one batch at a time.
    pub(super) fn begin(
        &mut self,
        store: &Arc<dyn OutboxStore>,
        token: Uuid,
        ids: Vec<Uuid>,
        room: Vec<OwnedSemaphorePermit>,
    ) {
        let store = store.clone();
        self.0 = Some(tokio::spawn(async move {
            let outcome = bounded(store.finish(token, &ids)).await;
            drop(room);
            outcome
        }));
    }

    /// Waits until the rows are forgotten. May be dropped and called again.
    pub(super) async fn end(&mut self) -> StoreResult<()> {
        let Some(task) = &mut self.0 else { return Ok(()) };
        let ended = task.await;
        self.0 = None;
        match ended {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => Ok(()),
            },
        }
    }
}
