//! What one merchant may have or run at once.

use clap::Args;

use crate::domain::MerchantLimits;

/// The bounds of each merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct MerchantSettings {
    /// How many subscriptions a merchant may have
    #[arg(long, env = "MAX_SUBSCRIPTIONS_PER_MERCHANT", value_name = "NUMBER", default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_subscriptions_per_merchant: u32,
    /// How many replays and cancellations of a merchant may run at once
    #[arg(long, env = "MAX_BULK_ACTIONS_PER_MERCHANT", value_name = "NUMBER", default_value = "20")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_bulk_actions_per_merchant: u32,
    /// How many tests of a merchant's subscriptions may be under way at once in this process
    #[arg(long, env = "MAX_TESTS_PER_MERCHANT", value_name = "NUMBER", default_value = "4")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_tests_per_merchant: u32,
}

impl MerchantSettings {
    /// The limits they stand for.
    pub fn limits(&self) -> MerchantLimits {
        MerchantLimits {
            subscriptions: self.max_subscriptions_per_merchant,
            bulk_actions: self.max_bulk_actions_per_merchant,
            tests: self.max_tests_per_merchant,
        }
    }
}
