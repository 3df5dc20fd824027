//! Whom a caller's connection waits for, in one word that is changed atomically, so that a connection
//! either gives way or begins its next request, and never both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection may wait for its peer before it gives way: an answer is on its way, or the next
/// request of a busy caller.
pub(super) const MIN_WAIT: Duration = Duration::from_secs(1);
/// The same for a connection on which nothing has arrived yet: a caller connects in order to send.
pub(super) const MIN_SILENCE: Duration = Duration::from_millis(100);

/// The phases in which the peer is waited for, in the order in which they give way. Below them is the time since
/// when, in milliseconds.
const SILENT: u64 = 0;
const IDLE: u64 = 1 << 56;
const ARRIVING: u64 = 2 << 56;
const ANSWERED: u64 = 3 << 56;
const PHASE: u64 = 0xff << 56;
/// A request is worked on.
const BUSY: u64 = u64::MAX;
/// The connection was asked to give way; it stays so.
const GIVES_WAY: u64 = u64::MAX - 1;

/// Whom a connection waits for.
pub(super) struct State {
    phase: AtomicU64,
    give_way: Notify,
    began: Instant,
}

impl State {
    /// Of a new connection; times are counted from `began`.
    pub(super) fn new(began: Instant) -> Self {
        let phase = AtomicU64::new(SILENT | millis(began.elapsed()));
        Self { phase, give_way: Notify::new(), began }
    }

    /// Bytes have arrived: of a request, where none is worked on.
    pub(super) fn receives(&self) {
        self.change(|phase| matches!(phase & PHASE, SILENT | IDLE).then(|| ARRIVING | self.now()));
    }

    /// Since when the service waits for the rest of a request's body, where it has waited for it before
    /// since `since`.
    pub(super) fn waits_for_body(&self, since: Option<u64>) -> u64 {
        let since = since.unwrap_or_else(|| self.now());
        self.change(|_| Some(ARRIVING | since));
        since
    }

    /// From now on the service works on a request. Whether it does: a connection that was asked to give way
    /// before ends without beginning it.
    pub(super) fn works(&self) -> bool {
        self.change(|_| Some(BUSY))
    }

    /// From now on the peer is to take an answer.
    pub(super) fn answers(&self) {
        self.change(|_| Some(ANSWERED | self.now()));
    }

    /// All that was to be sent is with the kernel.
    pub(super) fn has_sent(&self) {
        self.change(|phase| (phase & PHASE == ANSWERED).then(|| IDLE | self.now()));
    }

    /// Since when and in which phase it waits for its peer, where that is long enough at `now` for it to
    /// give way.
    pub(super) fn waits_long(&self, now: u64) -> Option<u64> {
        let phase = self.phase.load(Ordering::Acquire);
        let least = if phase & PHASE == SILENT { MIN_SILENCE } else { MIN_WAIT };
        (phase < GIVES_WAY && now.saturating_sub(phase & !PHASE) >= millis(least)).then_some(phase)
    }

    /// Asks it to give way, unless it is not in `phase` any more. Whether it does.
    pub(super) fn ask_to_give_way(&self, phase: u64) -> bool {
        let asked =
            self.phase.compare_exchange(phase, GIVES_WAY, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if asked {
            self.give_way.notify_one();
        }
        asked
    }

    /// Waits until the place is needed for another connection.
    pub(super) async fn asked_to_give_way(&self) {
        self.give_way.notified().await;
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Changes the phase, unless the connection was asked to give way.
    fn change(&self, to: impl Fn(u64) -> Option<u64>) -> bool {
        let change = |phase| if phase == GIVES_WAY { None } else { to(phase) };
        self.phase.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }
}

/// `time` in milliseconds, as it fits below a phase.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(!PHASE)
}
