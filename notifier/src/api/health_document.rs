//! What the outside sees of how an endpoint does.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::described::HealthWord;
use crate::domain::probing::Probing;
use crate::domain::{FailureClass, Health};

/// How a subscription's endpoint does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthDocument {
    /// `healthy`, `failing` (the last attempt failed), `unreachable` (ten attempts in a row did not reach
    /// it: one at a time is made until something answers), or `paused_by_receiver` (it answered 429 or 503:
    /// nothing is sent before `paused_until`, then one at a time until it answers something else).
    #[schema(value_type = HealthWord)]
    state: &'static str,
    /// When the first attempt began that failed since the last success.
    failing_since: Option<DateTime<Utc>>,
    /// Why the last attempt failed, in one word.
    #[schema(example = "connect")]
    failure_class: Option<&'static str>,
    /// Attempts in a row that did not reach it.
    unreached_attempts: u32,
    /// While it is `unreachable`: no attempt begins before.
    next_probe_at: Option<DateTime<Utc>>,
    /// While it is `paused_by_receiver`: no attempt begins before.
    paused_until: Option<DateTime<Utc>>,
}

impl HealthDocument {
    /// What is shown of `health`; `None`: nothing is held against the endpoint.
    pub fn new(health: Option<&Health>) -> Self {
        let probing = health.and_then(|health| health.probing);
        let (paused, probed) = (probing.filter(Probing::is_pause), probing.filter(|one| !one.is_pause()));
        Self {
            state: Health::state(health).as_str(),
            failing_since: health.and_then(Health::fails_since),
            failure_class: health.and_then(|health| health.failure_class).map(FailureClass::as_str),
            unreached_attempts: health.map_or(0, |health| health.unreached),
            next_probe_at: probed.map(|probing| probing.next_at()),
            paused_until: paused.map(|pause| pause.not_before),
        }
    }
}
