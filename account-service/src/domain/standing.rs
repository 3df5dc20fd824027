//! What is left open.

use chrono::{DateTime, Utc};

use super::exception::ExceptionKind;

/// What waits for a person or for pay-service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Open exceptions, by kind; kinds without any are left out.
    pub open_exceptions: Vec<(ExceptionKind, u64)>,
    /// Requests that pay-service will be asked about.
    pub waiting_requests: u64,
    /// When the oldest of them was made.
    pub oldest_request: Option<DateTime<Utc>>,
    /// Reconciliations that are not finished.
    pub running_reconciliations: u64,
    /// When the oldest of them was asked for.
    pub oldest_reconciliation: Option<DateTime<Utc>>,
    /// Recharges that reconciliations found to differ, and whose exceptions are open.
    pub open_differences: u64,
}
