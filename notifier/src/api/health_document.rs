//! What the outside sees of how an endpoint does.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::Health;
use crate::domain::health::Probing;

/// How a subscription's endpoint does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthDocument {
    /// `healthy`, `failing` (the last attempt failed), or `unreachable` (ten attempts in a row reached
    /// nobody: one at a time is made until something answers).
    #[schema(example = "failing")]
    state: &'static str,
    /// When the first attempt began that failed since the last success.
    failing_since: Option<DateTime<Utc>>,
    /// Attempts in a row that did not reach it.
    unreached_attempts: u32,
    /// While it is `unreachable`: no attempt begins before.
    next_probe_at: Option<DateTime<Utc>>,
}

impl HealthDocument {
    /// What is shown of `health`; `None`: nothing is held against the endpoint.
    pub fn new(health: Option<&Health>) -> Self {
        Self {
            state: Health::state(health).as_str(),
            failing_since: health.map(|health| health.failing_since),
            unreached_attempts: health.map_or(0, |health| health.unreached),
            next_probe_at: health.and_then(|health| health.probing.as_ref()).map(Probing::next_at),
        }
    }
}
