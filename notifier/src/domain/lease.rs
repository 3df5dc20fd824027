//! The right to make one attempt (law 5).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::RequestTimeout;

/// What a lease lasts beyond the request's timeout: room for starting and for recording.
pub const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// A lease on a notification. The only way to one is [`Lease::grant`], so it always outlasts the
/// request's timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    token: Uuid,
    until: DateTime<Utc>,
}

impl Lease {
    /// A lease from `now` for a request of at most `timeout`. `token` must be new for every claim.
    pub fn grant(token: Uuid, now: DateTime<Utc>, timeout: RequestTimeout) -> Self {
        let length = TimeDelta::from_std(timeout.get() + LEASE_MARGIN).expect("45 s at the most");
        Self { token, until: now + length }
    }

    /// Names the holder.
    pub fn token(&self) -> Uuid {
        self.token
    }

    /// From this time on the notification may be handed out again.
    pub fn until(&self) -> DateTime<Utc> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use runtime::duration::HumanDuration;

    use super::*;

    #[test]
    fn a_lease_outlasts_every_timeout_a_subscription_can_have() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        for timeout in [RequestTimeout::MIN, RequestTimeout::MAX] {
            let timeout = RequestTimeout::new(HumanDuration(timeout)).expect("allowed");
            let lease = Lease::grant(Uuid::nil(), now, timeout);
            assert_eq!(lease.until(), now + timeout.get() + LEASE_MARGIN);
        }
    }
}
