//! How far an attempt has come, so that one that runs out of time says where the time went.
//!
//! The HTTP client keeps its connections to itself and tells its connector only where to connect
//! to. What belongs to the attempt reaches the connector through this task-local.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{FailureClass, RequestTimeout};

tokio::task_local! {
    static UNDER_WAY: Arc<Progress>;
}

/// What takes the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The request is sent, the answer waited for.
    Exchanging,
    /// The host's name is looked up.
    Resolving,
    /// A connection is being made.
    Connecting,
    /// The egress proxy is connected to.
    ReachingProxy,
    /// The egress proxy connects to the receiver.
    Tunnelling,
    /// The TLS handshake.
    Handshaking,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Exchanging,
        Self::Resolving,
        Self::Connecting,
        Self::ReachingProxy,
        Self::Tunnelling,
        Self::Handshaking,
    ];

    /// The failure of an attempt whose time ended in this phase.
    pub fn out_of_time(self) -> (FailureClass, &'static str) {
        match self {
            Self::Exchanging => (FailureClass::Timeout, "no answer in time"),
            Self::Resolving => (FailureClass::Dns, "the host's name was not resolved in time"),
            Self::Connecting => (FailureClass::Connect, "no connection in time"),
            Self::ReachingProxy => (FailureClass::Proxy, "the egress proxy was not reached in time"),
            Self::Tunnelling => (FailureClass::Connect, "the egress proxy made no connection in time"),
            Self::Handshaking => (FailureClass::Tls, "the TLS handshake did not end in time"),
        }
    }
}

/// One attempt under way.
#[derive(Debug)]
pub struct Progress {
    deadline: Instant,
    phase: AtomicU8,
    sent: AtomicBool,
}

impl Progress {
    /// An attempt that must have ended within `limit`.
    pub fn within(limit: Duration) -> Arc<Self> {
        let (phase, sent) = (AtomicU8::new(Phase::Exchanging as u8), AtomicBool::new(false));
        Arc::new(Self { deadline: Instant::now() + limit, phase, sent })
    }

    /// The attempt that the caller runs for; one of its own where there is none.
    pub fn current() -> Arc<Self> {
        UNDER_WAY.try_with(Arc::clone).unwrap_or_else(|_| Self::within(RequestTimeout::MAX))
    }

    /// Runs `work` for this attempt.
    pub async fn run<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        UNDER_WAY.scope(self, work).await
    }

    /// When the time is up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// From now on it is this that takes the time.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// A connection has taken the request. It need not be the one that was being made for it: the
    /// client takes whichever is free first.
    pub fn mark_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// What takes the time now.
    pub fn phase(&self) -> Phase {
        let phase = Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))];
        if self.sent.load(Ordering::Relaxed) { Phase::Exchanging } else { phase }
    }
}
