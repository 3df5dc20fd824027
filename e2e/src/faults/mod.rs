//! Things are killed under a stream of recharges; when it is quiet again, the books must agree.

mod books;
mod dice;
mod disturbances;
mod notifiers;
mod stream;

pub use disturbances::{
    postgres_is_killed_and_started, rabbitmq_is_stopped_and_started, services_are_killed_in_turn,
};

pub use notifiers::notifiers_that_share_a_queue_are_killed;
use runtime::testing::is_long;

/// How many recharges a stream has: 2 000, or 20 000 with `RINGBACK_LONG_TESTS=1`.
fn recharges() -> u64 {
    if is_long() { 20_000 } else { 2_000 }
}

/// How often each service is killed.
fn rounds() -> u64 {
    if is_long() { 20 } else { 6 }
}
