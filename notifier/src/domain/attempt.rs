//! One try at delivering a notification, and what follows from how it ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::Ladder;
use messaging::ladder::Next;

use super::receiver_pause::PauseAsked;
use super::{Lease, NotificationId, SubscriptionId};

/// The longest part of an answer that is kept, in bytes.
pub const MAX_EXCERPT_BYTES: usize = 1024;
/// The longest error text that is kept, in bytes.
const MAX_ERROR_BYTES: usize = 500;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver acknowledged.
    Delivered,
    /// It did not; the ladder decides what follows.
    Failed(FailureClass),
    /// The receiver answered 410: nobody is there any more.
    Gone,
}

/// One outcome of each kind.
pub const OUTCOMES: [Outcome; 3] = [Outcome::Delivered, Outcome::Failed(FailureClass::Status), Outcome::Gone];

/// Why an attempt failed, in words that statistics can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// The host's name has no address, or none was learnt in time.
    Dns,
    /// Nobody answers at the address, or not in time.
    Connect,
    /// The TLS handshake failed, or did not end in time.
    Tls,
    /// The request was sent, and the answer was not whole when the subscription's timeout ended.
    Timeout,
    /// The status is not 2xx.
    Status,
    /// 2xx, but not the acknowledgement the subscription asks for.
    AckMismatch,
    /// The address is one that webhooks must not reach.
    BlockedTarget,
    /// The answer broke off.
    Body,
    /// What came back is no HTTP.
    Protocol,
    /// Our own way out, the egress proxy, failed.
    Proxy,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 10] = [
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Status,
        Self::AckMismatch,
        Self::BlockedTarget,
        Self::Body,
        Self::Protocol,
        Self::Proxy,
    ];

    /// The class as it is stored, shown and counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::AckMismatch => "ack_mismatch",
            Self::BlockedTarget => "blocked_target",
            Self::Body => "body",
            Self::Protocol => "protocol",
            Self::Proxy => "proxy",
        }
    }

    /// Reads what [`FailureClass::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

impl Outcome {
    /// `delivered`, `failed` or `gone`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed(_) => "failed",
            Self::Gone => "gone",
        }
    }

    /// The class of a failure.
    pub fn failure_class(self) -> Option<FailureClass> {
        match self {
            Self::Failed(class) => Some(class),
            Self::Delivered | Self::Gone => None,
        }
    }

    /// Whether the endpoint was there: it answered something, however wrong, or at least took the
    /// connection and then broke it off. A time-out before any answer counts as not there, since
    /// who drops packets can't be told from who never answers.
    pub fn reached(self, http_status: Option<u16>) -> bool {
        use FailureClass::{
            AckMismatch, BlockedTarget, Body, Connect, Dns, Protocol, Proxy, Status, Timeout, Tls,
        };
        match self {
            Self::Delivered | Self::Gone | Self::Failed(Status | AckMismatch | Body | Protocol) => true,
            Self::Failed(Timeout) => http_status.is_some(),
            Self::Failed(Dns | Connect | Tls | BlockedTarget | Proxy) => false,
        }
    }

    /// Reads what [`Outcome::as_str`] and [`FailureClass::as_str`] wrote.
    pub fn parse(outcome: &str, class: Option<&str>) -> Option<Self> {
        match outcome {
            "delivered" => Some(Self::Delivered),
            "gone" => Some(Self::Gone),
            "failed" => class.and_then(FailureClass::parse).map(Self::Failed),
            _ => None,
        }
    }
}

/// One exchange with a receiver, as whoever sent the webhook saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took, the answer's body included.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The status, where one came back.
    pub http_status: Option<u16>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// The beginning of the answer's body, [`MAX_EXCERPT_BYTES`] at the most.
    pub response_excerpt: Option<String>,
    /// The receiver's `Retry-After` (429 and 503 only), counted from the end of the exchange.
    pub retry_after: Option<Duration>,
}

impl Exchange {
    /// Whether the whole timeout was used up.
    pub fn timed_out(&self) -> bool {
        self.outcome == Outcome::Failed(FailureClass::Timeout)
    }

    /// Whether the receiver asked to be left alone for a while.
    pub fn asks_for_pause(&self) -> bool {
        PauseAsked::by(self).is_some()
    }

    /// See [`Outcome::reached`].
    pub fn reached(&self) -> bool {
        self.outcome.reached(self.http_status)
    }
}

/// An attempt of a notification's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1 and never starts over.
    pub number: u32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The status, where one came back.
    pub http_status: Option<u16>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response_excerpt: Option<String>,
}

impl Attempt {
    /// When it ended.
    pub fn ended_at(&self) -> DateTime<Utc> {
        self.started_at + self.duration
    }

    /// The exchange as attempt `number`; texts cut to their limits, and without NUL, which no
    /// database keeps in text.
    pub fn new(number: u32, exchange: Exchange) -> Self {
        Self {
            number,
            started_at: exchange.started_at,
            duration: exchange.duration,
            outcome: exchange.outcome,
            http_status: exchange.http_status,
            error: exchange.error.map(|text| clipped(&text, MAX_ERROR_BYTES)),
            response_excerpt: exchange.response_excerpt.map(|text| clipped(&text, MAX_EXCERPT_BYTES)),
        }
    }
}

fn clipped(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].replace('\0', "\u{FFFD}")
}

/// What becomes of the notification after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// It is tried again, not before this time.
    RetryAt(DateTime<Utc>),
    /// The ladder ended.
    Exhausted,
    /// Its subscription is disabled; it waits, due, until that is made active again.
    Gone,
}

impl Verdict {
    /// What follows when an attempt ended with `outcome` at `now`, after `climb` failed attempts
    /// earlier in this climb of the ladder.
    pub fn of(
        outcome: Outcome,
        ladder: &Ladder,
        climb: u32,
        now: DateTime<Utc>,
        retry_after: Option<Duration>,
    ) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Gone => Self::Gone,
            Outcome::Failed(_) => match ladder.next(climb.saturating_add(1), now, retry_after) {
                Next::RetryAt(at) => Self::RetryAt(at),
                Next::Exhausted => Self::Exhausted,
            },
        }
    }
}

impl Verdict {
    /// What follows instead of [`Verdict::Exhausted`] when a failed attempt ended at `now` by a clock
    /// that is not trusted: the last step once again.
    pub fn last_step_again(ladder: &Ladder, now: DateTime<Utc>) -> Self {
        let steps = ladder.steps().len();
        match ladder.next(u32::try_from(steps).unwrap_or(u32::MAX), now, None) {
            Next::RetryAt(at) => Self::RetryAt(at),
            Next::Exhausted => Self::Exhausted,
        }
    }
}

/// A finished attempt on its way into the log. Counts only while `lease.token` is still the
/// notification's (law 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// What was being delivered.
    pub notification: NotificationId,
    /// To whom; disabled by [`Verdict::Gone`].
    pub subscription: SubscriptionId,
    /// The lease it was made under.
    pub lease: Lease,
    /// The log's entry.
    pub attempt: Attempt,
    /// What follows.
    pub verdict: Verdict,
    /// No probe before this time, should the endpoint be unreachable; see [`super::health`].
    pub probe_at: DateTime<Utc>,
    /// The pause that the receiver asked for, if it did.
    pub pause_asked: Option<PauseAsked>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_as_they_were_written() {
        let failures = FailureClass::ALL.into_iter().map(Outcome::Failed);
        for outcome in failures.chain([Outcome::Delivered, Outcome::Gone]) {
            let class = outcome.failure_class().map(FailureClass::as_str);
            assert_eq!(Outcome::parse(outcome.as_str(), class), Some(outcome));
        }
        assert_eq!(Outcome::parse("failed", None), None);
    }

    #[test]
    fn whoever_answers_anything_is_there_and_whoever_is_silent_is_not() {
        let failed = |class, status| Outcome::Failed(class).reached(status);
        assert!(Outcome::Gone.reached(Some(410)) && failed(FailureClass::Status, Some(500)));
        assert!(failed(FailureClass::Protocol, None), "it took the connection");
        assert!(failed(FailureClass::Timeout, Some(200)), "it began an answer");
        assert!(!failed(FailureClass::Timeout, None));
        assert!(!failed(FailureClass::Connect, None) && !failed(FailureClass::BlockedTarget, None));
    }

    #[test]
    fn a_failure_climbs_the_ladder_until_it_ends() {
        let ladder = Ladder::new(vec!["1s".parse().expect("a duration"); 2]).expect("a ladder");
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let failed = Outcome::Failed(FailureClass::Status);
        let after = |climb| Verdict::of(failed, &ladder, climb, now, None);
        assert_eq!(after(0), Verdict::RetryAt(now + Duration::from_secs(1)));
        assert_eq!(after(1), Verdict::RetryAt(now + Duration::from_secs(1)));
        assert_eq!(after(2), Verdict::Exhausted);
        assert_eq!(Verdict::of(Outcome::Gone, &ladder, 2, now, None), Verdict::Gone);
    }

    #[test]
    fn an_excerpt_is_cut_between_characters_and_holds_no_nul() {
        assert_eq!(clipped("a\0é", 3), "a\u{FFFD}");
        assert_eq!(clipped("abc", 3), "abc");
    }
}
