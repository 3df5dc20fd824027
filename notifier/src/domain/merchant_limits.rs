//! What one merchant may have or run at once, so that it leaves room for the others (laws 7 and 10).

/// The bounds of each merchant. What is the operator's own is bounded like that of one more merchant; what the
/// operator does for a merchant counts as that merchant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MerchantLimits {
    /// Subscriptions that are not deleted.
    pub subscriptions: u32,
    /// Replays and cancellations that run, together.
    pub bulk_actions: u32,
    /// Tests of subscriptions under way, in each process.
    pub tests: u32,
}

impl Default for MerchantLimits {
    fn default() -> Self {
        Self { subscriptions: 1000, bulk_actions: 20, tests: 4 }
    }
}

/// A merchant is at one of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// See [`MerchantLimits::subscriptions`].
    #[error(
        "has {0} subscriptions already, which is the limit (MAX_SUBSCRIPTIONS_PER_MERCHANT); delete one first"
    )]
    Subscriptions(u32),
    /// See [`MerchantLimits::bulk_actions`].
    #[error(
        "this merchant has {0} replays and cancellations running, which is the limit \
         (MAX_BULK_ACTIONS_PER_MERCHANT); try again when one is done"
    )]
    BulkActions(u32),
    /// See [`MerchantLimits::tests`].
    #[error(
        "this merchant has {0} tests under way, which is the limit (MAX_TESTS_PER_MERCHANT); try again when one \
         has ended"
    )]
    Tests(u32),
}
