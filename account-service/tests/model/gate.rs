//! Where a process can be stopped: before and after each of its steps. There it can go on later, or
//! die.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::database::StoreError;
use tokio::sync::{Notify, oneshot};

use super::command::Stop;

/// The gate of one process, which everything that it does outside of itself passes.
#[derive(Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    stopped: Notify,
}

#[derive(Default)]
struct State {
    left: Stop,
    waiting: Option<oneshot::Sender<()>>,
}

/// The process has died here.
#[derive(Debug)]
pub struct Died;

impl From<Died> for StoreError {
    /// Nobody is there any more to read it.
    fn from(_: Died) -> Self {
        Self::Unavailable(sqlx::Error::PoolClosed)
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One place where the process can be stopped.
    pub async fn pass(&self) -> Result<(), Died> {
        let go_on = {
            let mut state = self.state();
            match state.left {
                Some(0) => {
                    let (waiting, go_on) = oneshot::channel();
                    *state = State { left: None, waiting: Some(waiting) };
                    go_on
                }
                left => {
                    state.left = left.map(|left| left - 1);
                    return Ok(());
                }
            }
        };
        self.0.stopped.notify_one();
        go_on.await.map_err(|_| Died)
    }

    /// The process stops after so many places, from here on.
    pub fn arm(&self, stop: Stop) {
        self.state().left = stop;
    }

    /// Returns when the process has stopped.
    pub async fn stopped(&self) {
        self.0.stopped.notified().await;
    }

    /// The stopped process goes on.
    pub fn go_on(&self) {
        if let Some(waiting) = self.state().waiting.take() {
            // Where nobody waits any more the process was dropped.
            let _ = waiting.send(());
        }
    }

    /// What is stopped here never goes on.
    pub fn die(&self) {
        *self.state() = State::default();
    }
}
